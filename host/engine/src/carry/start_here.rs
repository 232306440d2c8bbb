//! START-HERE.txt: from a mounted disk to a running platform, for somebody who
//! has never seen any of it. No I/O.

use model::ResolvedComponents;

use super::item::Item;
use config::Project;

/// Where `serve` listens in the commands.
const PORT: u16 = 5001;

/// The real names of what is carried.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) architecture: String,
    pub(super) package: String,
    /// This program, for the architecture of the package.
    pub(super) program: Option<String>,
    pub(super) zarf: Option<String>,
    pub(super) init: Option<String>,
    /// The image that the node installer runs from.
    pub(super) installer: Option<String>,
}

impl Facts {
    pub(super) fn of(
        project: &Project,
        package: &str,
        programs: &[(String, Item)],
        carried: &[Item],
        resolved: &ResolvedComponents,
    ) -> Self {
        let architecture = project.architecture().to_owned();
        let named = |fits: &dyn Fn(&Item) -> bool| carried.iter().find(|item| fits(item)).map(|item| item.name.clone());
        let program = programs.iter().find(|(of, _)| *of == architecture).map(|(_, item)| item.name.clone());
        let is_installer = |image: &&String| {
            model::image::ImageName::parse(image).is_ok_and(|name| name.name().ends_with("/kubespray"))
        };
        let installer = resolved.images.iter().find(is_installer).map(|image| model::image::normalized(image));
        Self {
            name: project.settings.package.name.clone(),
            version: project.settings.package.version.clone(),
            package: package.to_owned(),
            program,
            zarf: named(&|item| item.executable && item.name.starts_with("zarf") && !is_init(&item.name)),
            init: named(&|item| is_init(&item.name)),
            installer,
            architecture,
        }
    }
}

fn is_init(name: &str) -> bool {
    name.starts_with("zarf-init-")
}

/// The whole file. What is not carried is expected on the machine over there,
/// and said so.
pub(super) fn text(facts: &Facts) -> String {
    let Facts { name, version, architecture, package, .. } = facts;
    let program = facts.program.as_ref().map_or("opencenter-airgap".to_owned(), |program| format!("./{program}"));
    let zarf = facts.zarf.as_ref().map_or("zarf".to_owned(), |zarf| format!("./{zarf}"));
    let address = format!("http://$(hostname -I | cut -d ' ' -f 1):{PORT}");
    let mut steps = vec![
        ("Check that all of it arrived:".to_owned(), format!("{program} verify .")),
        (
            "Put the binaries and archives that nodes need onto this machine; no cluster is needed:".to_owned(),
            format!("{zarf} package deploy {package} --confirm"),
        ),
        (
            "Give the nodes images, files, charts and repositories, for as long as this runs:".to_owned(),
            format!("{program} serve {package} --listen 0.0.0.0:{PORT} --url {address} &"),
        ),
    ];
    if let Some(installer) = &facts.installer {
        steps.push((
            "Install Kubernetes on the nodes of ./inventory (see below):".to_owned(),
            format!(
                "podman run --rm --network host --tls-verify=false -v ./inventory:/inventory -v ~/.ssh:/root/.ssh:ro \
                 127.0.0.1:{PORT}/{installer} ansible-playbook -b -i /inventory/hosts.yaml cluster.yml"
            ),
        ));
    }
    steps.push((
        "Prepare the cluster for Zarf, and deploy the platform:".to_owned(),
        format!(
            "export KUBECONFIG=$PWD/inventory/artifacts/admin.conf && {zarf} init --components git-server --confirm && \
             {zarf} package deploy {package} --components '*' --confirm"
        ),
    ));
    let mut text = format!(
        "{name} {version} for {architecture}: from this folder to a running platform\n\n\
         Work as root in this folder, on a machine that reaches the nodes by ssh. A disk that\n\
         was mounted with `noexec`, or read-only, runs nothing and takes no inventory: copy the\n\
         folder to one that does first.\n"
    );
    for (at, (what, command)) in steps.iter().enumerate() {
        text.push_str(&format!("\n{}. {what}\n\n   {command}\n", at + 1));
    }
    if facts.installer.is_some() {
        text.push_str(&format!(
            "\nThe inventory: inventory/hosts.yaml names the nodes as Kubespray wants them, and\n\
             inventory/group_vars/all/offline.yml sends them to this machine. This writes it:\n\n   \
             mkdir -p inventory/group_vars/all && {program} serve {package} --print kubespray --url {address} \
             > inventory/group_vars/all/offline.yml\n\n\
             With `kubeconfig_localhost: true` in inventory/group_vars/all/all.yml the installer leaves\n\
             the key of the cluster in inventory/artifacts/admin.conf.\n"
        ));
    }
    for (what, missing) in [
        ("opencenter-airgap for this architecture", facts.program.is_none()),
        ("zarf", facts.zarf.is_none()),
        ("Zarf's init package", facts.init.is_none()),
        ("an installer for the nodes", facts.installer.is_none()),
    ] {
        if missing {
            text.push_str(&format!("\nNot in this folder, and needed from elsewhere: {what}.\n"));
        }
    }
    text.push_str(&format!(
        "\nWhoever has the public key of those who built it, which comes another way, also knows who\n\
         they were: `{program} verify --key FILE .`\n"
    ));
    text.push_str("\nWithout any of these programs, `sha256sum -c SHA256SUMS` says whether the files are whole.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            name: "platform".into(),
            version: "1.0.0".into(),
            architecture: "amd64".into(),
            package: "zarf-package-platform-amd64-1.0.0.tar.zst".into(),
            program: Some("opencenter-airgap-amd64".into()),
            zarf: Some("zarf-amd64".into()),
            init: Some("zarf-init-amd64-v0.84.0.tar.zst".into()),
            installer: Some("quay.io/kubespray/kubespray:v2.30.0".into()),
        }
    }

    #[test]
    fn five_commands_with_the_real_names() {
        let text = text(&facts());
        let commands: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("   ")).collect();
        assert_eq!(commands.len(), 6, "five, and what writes the inventory:\n{text}");
        assert!(commands[0] == "./opencenter-airgap-amd64 verify .", "{text}");
        assert!(commands[1].starts_with("./zarf-amd64 package deploy zarf-package-platform-amd64-1.0.0.tar.zst"));
        assert!(commands[3].contains(" 127.0.0.1:5001/quay.io/kubespray/kubespray:v2.30.0 "), "{text}");
        assert!(!text.contains("needed from elsewhere"), "{text}");
        assert!(text.ends_with('\n') && text.is_ascii());
    }

    #[test]
    fn what_is_not_carried_is_said() {
        let bare = Facts { package: "p.tar.zst".into(), ..Facts::default() };
        let text = text(&bare);
        assert_eq!(text.matches("needed from elsewhere").count(), 4, "{text}");
        assert!(text.contains("   opencenter-airgap verify .\n") && !text.contains("podman"), "{text}");
    }
}

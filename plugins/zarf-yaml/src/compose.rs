//! Groups what was fetched into components that a reader understands: the
//! binaries of kubernetes, the tools, the images that no chart claims, the
//! repositories, one component for each chart with the images it names, and one
//! for the files of each other step.
//! Images come before the charts that start them, and what needs no cluster
//! before all that does: it is what a cluster is made with. Of a package that
//! has both, what needs a cluster is optional, for Zarf would deploy everything
//! that is required at once, and end where no cluster answers yet.

use std::collections::{BTreeMap, BTreeSet};

use model::image::normalized;
use model::zarf::{self, Chart, Component, Definition, File, Metadata};
use model::{ChartEntry, FileEntry, FileKind};

use crate::inputs::Fetched;
use crate::problem::Problem;
use crate::{Configuration, contributed};

/// Zarf's limit for the name of a chart.
const LONGEST_CHART_NAME: usize = 40;

/// The definition of the package.
///
/// # Errors
/// A package without content, content that a step did not deliver, a name that
/// Zarf or Helm would refuse.
pub fn compose(fetched: &Fetched, configuration: &Configuration) -> Result<Definition, Problem> {
    check_delivered(fetched)?;
    let mut components = Vec::new();
    add_components(&mut components, fetched, configuration)?;
    if components.is_empty() {
        return Err(Problem::new(
            "empty-package",
            "the package would hold nothing: components.yaml names no binaries, tools, images, repositories or charts",
            "add something to config/components.yaml, or let `build --force-regenerate` generate it from versions.env",
        ));
    }
    contributed::check_targets(&fetched.contributed, &components, configuration)?;
    check_targets(&components, fetched, configuration)?;
    require(&mut components, configuration)?;
    arrange(&mut components, configuration)?;
    let mut documentation = provenance(fetched);
    contributed::add_documents(&fetched.contributed, &mut documentation)?;
    Ok(Definition {
        api_version: zarf::API_VERSION.into(),
        kind: zarf::KIND.into(),
        metadata: metadata(fetched)?,
        components,
        documentation,
        ..Definition::default()
    })
}

/// Adds a component for each group of what was fetched, under names that are
/// free.
pub(crate) fn add_components(
    components: &mut Vec<Component>,
    fetched: &Fetched,
    configuration: &Configuration,
) -> Result<(), Problem> {
    let mut add = |component: Component| {
        let name = unique(&component.name, components);
        components.push(Component { name, ..component });
    };
    let groups =
        [binaries(fetched, configuration), tools(fetched, configuration), images(fetched), repositories(fetched)];
    groups.into_iter().flatten().for_each(&mut add);
    for entry in &fetched.charts {
        add(chart(fetched, entry, zarf::component_of(&entry.name))?);
    }
    contributed::components(&fetched.contributed, configuration).into_iter().for_each(add);
    Ok(())
}

/// Says of each component whether it is deployed without being asked for.
fn require(components: &mut [Component], configuration: &Configuration) -> Result<(), Problem> {
    require_of(components, 0, configuration)
}

/// The same, of those behind the first `written`, which say it themselves
/// unless the configuration does.
pub(crate) fn require_of(
    components: &mut [Component],
    written: usize,
    configuration: &Configuration,
) -> Result<(), Problem> {
    configuration.required.keys().try_for_each(|name| known("required", name, components))?;
    let has_files_first = components.iter().any(|component| !needs_cluster(component));
    for (index, component) in components.iter_mut().enumerate() {
        let by_default = !has_files_first || !needs_cluster(component);
        let by_default = if index < written { component.required } else { Some(by_default) };
        component.required = configuration.required.get(&component.name).copied().map(Some).unwrap_or(by_default);
    }
    Ok(())
}

/// As Zarf tells it, of what is composed here.
fn needs_cluster(component: &Component) -> bool {
    !(component.images.is_empty() && component.charts.is_empty() && component.repos.is_empty())
}

/// Zarf deploys components in the order of the definition.
pub(crate) fn arrange(components: &mut [Component], configuration: &Configuration) -> Result<(), Problem> {
    configuration.order.iter().try_for_each(|name| known("order", name, components))?;
    let place = |component: &Component| {
        let named = configuration.order.iter().position(|name| *name == component.name);
        named.unwrap_or(configuration.order.len())
    };
    // Stable: those that are not named stay as they are.
    components.sort_by_key(place);
    Ok(())
}

fn known(key: &str, name: &str, components: &[Component]) -> Result<(), Problem> {
    if components.iter().any(|component| component.name == name) {
        return Ok(());
    }
    let names: Vec<&str> = components.iter().map(|component| component.name.as_str()).collect();
    Err(Problem::new(
        "unknown-component",
        format!("`{key}` of this step names `{name}`, which is no component; they are {}", names.join(", ")),
        "correct the name in config/pipeline.yaml, or remove it",
    ))
}

pub(crate) fn metadata(fetched: &Fetched) -> Result<Metadata, Problem> {
    let package = &fetched.components.package;
    if !zarf::is_name(&package.name) {
        return Err(Problem::new(
            "package-name",
            format!("the package name `{}` is not one that Zarf accepts", package.name),
            "use lowercase letters, digits and `-` for `package.name` in config/settings.yaml",
        ));
    }
    if package.version.is_empty() || package.version.contains(['/', '\\', ' ']) {
        return Err(Problem::new(
            "package-version",
            format!("the package version `{}` is empty, or holds a slash or a space", package.version),
            "set `package.version` in config/settings.yaml",
        ));
    }
    Ok(Metadata {
        name: package.name.clone(),
        description: package.description.clone().unwrap_or_default(),
        version: package.version.clone(),
        architecture: fetched.components.architecture.clone(),
        ..Metadata::default()
    })
}

/// Everything that was asked for must have arrived: a package that lacks
/// something fails in the field.
pub(crate) fn check_delivered(fetched: &Fetched) -> Result<(), Problem> {
    let wanted = &fetched.components;
    let files: BTreeSet<&str> = fetched.files.iter().map(|file| file.name.as_str()).collect();
    let charts: BTreeSet<&str> = fetched.charts.iter().map(|chart| chart.name.as_str()).collect();
    let repositories: BTreeSet<&str> = fetched.repositories.iter().map(|entry| entry.name.as_str()).collect();
    let mut missing = Vec::new();
    missing.extend(
        wanted.images.iter().filter(|image| !fetched.images.contains(&normalized(image))).map(|i| format!("image {i}")),
    );
    missing
        .extend(wanted.files.iter().filter(|f| !files.contains(f.name.as_str())).map(|f| format!("file {}", f.name)));
    missing.extend(
        wanted.charts.iter().filter(|c| !charts.contains(c.name.as_str())).map(|c| format!("chart {}", c.name)),
    );
    missing.extend(
        wanted
            .repositories
            .iter()
            .filter(|repository| !repositories.contains(repository.name.as_str()))
            .map(|repository| format!("repository {}", repository.name)),
    );
    if missing.is_empty() {
        return Ok(());
    }
    Err(Problem::new(
        "not-delivered",
        format!("components.yaml names what no step has fetched: {}", missing.join(", ")),
        "the steps images, files, repos and charts must run before this one: check `needs` in config/pipeline.yaml",
    ))
}

fn binaries(fetched: &Fetched, configuration: &Configuration) -> Option<Component> {
    let files: Vec<&FileEntry> = fetched.files.iter().filter(|file| file.kind == FileKind::Kubernetes).collect();
    let version = &files.first()?.version;
    Some(Component {
        name: "kubernetes-binaries".into(),
        description: format!("Kubernetes {version}: {}", names(&files)),
        files: files.iter().map(|entry| file(entry, true, configuration)).collect(),
        ..Component::default()
    })
}

fn tools(fetched: &Fetched, configuration: &Configuration) -> Option<Component> {
    let files: Vec<&FileEntry> = fetched.files.iter().filter(|file| file.kind == FileKind::Tool).collect();
    files.first()?;
    let versions: Vec<String> = files.iter().map(|file| format!("{} {}", file.name, file.version)).collect();
    Some(Component {
        name: "tools".into(),
        description: format!("Command-line tools: {}", versions.join(", ")),
        files: files.iter().map(|entry| file(entry, fetched.programs.contains(&entry.path), configuration)).collect(),
        ..Component::default()
    })
}

fn names(files: &[&FileEntry]) -> String {
    files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn file(entry: &FileEntry, executable: bool, configuration: &Configuration) -> File {
    let directory = match entry.kind {
        FileKind::Kubernetes => &configuration.kubernetes_directory,
        FileKind::Tool if executable => &configuration.tools_directory,
        FileKind::Tool | FileKind::Carry | FileKind::Definition => &configuration.files_directory,
    };
    let target = configuration.targets.get(&entry.name).cloned();
    File {
        source: format!("../files/{}", entry.path),
        shasum: entry.sha256.clone(),
        target: target.unwrap_or_else(|| format!("{}/{}", directory.trim_end_matches('/'), entry.name)),
        executable,
        ..File::default()
    }
}

/// The provenance files of charts, for whoever wants to check them: documents,
/// because deploying needs none of them.
pub(crate) fn provenance(fetched: &Fetched) -> BTreeMap<String, String> {
    let deployed = fetched.charts.iter().filter(|entry| entry.artifact.is_none());
    let paths = deployed.filter_map(|entry| entry.provenance.as_ref());
    paths.map(|path| (zarf::base_name(path).to_owned(), format!("../charts/{path}"))).collect()
}

/// The images that no chart names.
fn images(fetched: &Fetched) -> Option<Component> {
    let claimed: BTreeSet<String> =
        fetched.charts.iter().flat_map(|chart| chart.images.iter().map(|image| normalized(image))).collect();
    let images: Vec<String> =
        fetched.components.images.iter().filter(|i| !claimed.contains(&normalized(i))).cloned().collect();
    images.first()?;
    Some(Component {
        name: "container-images".into(),
        description: format!("{} container images", images.len()),
        images: with_what_is_about(images, fetched),
        ..Component::default()
    })
}

/// Behind each image what is carried about it: as Zarf's own `dev find-images`
/// lists signatures, so that they reach the registry that the image reaches.
pub(crate) fn with_what_is_about(images: Vec<String>, fetched: &Fetched) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let about = |image: &String| fetched.about_images.get(&normalized(image)).cloned().unwrap_or_default();
    let all =
        images.into_iter().flat_map(|image| std::iter::once(image.clone()).chain(about(&image)).collect::<Vec<_>>());
    all.filter(|image| seen.insert(normalized(image))).collect()
}

fn repositories(fetched: &Fetched) -> Option<Component> {
    fetched.repositories.first()?;
    let names: Vec<&str> = fetched.repositories.iter().map(|entry| entry.name.as_str()).collect();
    Some(Component {
        name: "repositories".into(),
        description: format!("Git repositories: {}", names.join(", ")),
        repos: fetched.repositories.iter().map(|entry| entry.zarf_reference.clone()).collect(),
        ..Component::default()
    })
}

fn chart(fetched: &Fetched, entry: &ChartEntry, name: String) -> Result<Component, Problem> {
    if entry.name.len() > LONGEST_CHART_NAME {
        return Err(Problem::new(
            "chart-name",
            format!("the chart name `{}` is longer than Zarf's {LONGEST_CHART_NAME} characters", entry.name),
            "Zarf packages cannot hold this chart under its name; use a local copy with a shorter one",
        ));
    }
    let named: BTreeSet<String> = entry.images.iter().map(|image| normalized(image)).collect();
    let images = fetched.components.images.iter().filter(|image| named.contains(&normalized(image))).cloned();
    if let Some(artifact) = &entry.artifact {
        return Ok(Component {
            name,
            description: format!(
                "Helm chart {} {} from {} as an OCI artifact: it is not installed",
                entry.name, entry.version, entry.repo
            ),
            images: with_what_is_about(images.collect(), fetched)
                .into_iter()
                .chain([artifact.reference.clone()])
                .collect(),
            ..Component::default()
        });
    }
    let release = zarf::release_of(&entry.name);
    Ok(Component {
        name,
        description: format!("Helm chart {} {} from {}", entry.name, entry.version, entry.repo),
        charts: vec![Chart {
            name: entry.name.clone(),
            version: entry.version.clone(),
            local_path: format!("../charts/{}", entry.path),
            namespace: if entry.namespace.is_empty() { release.clone() } else { entry.namespace.clone() },
            release_name: if release == entry.name { String::new() } else { release },
            values_files: entry.values.iter().map(|path| format!("../charts/{path}")).collect(),
            ..Chart::default()
        }],
        images: with_what_is_about(images.collect(), fetched),
        ..Component::default()
    })
}

/// The name itself, or with a number that makes it unique.
fn unique(name: &str, components: &[Component]) -> String {
    let taken = |name: &str| components.iter().any(|component| component.name == name);
    if !taken(name) {
        return name.to_owned();
    }
    (2..).map(|number| format!("{name}-{number}")).find(|name| !taken(name)).unwrap_or_default()
}

/// Two files must not be put into the same place, and a place must be for one.
pub(crate) fn check_targets(
    components: &[Component],
    fetched: &Fetched,
    configuration: &Configuration,
) -> Result<(), Problem> {
    let is_file = |name: &str| fetched.files.iter().any(|file| file.name == name);
    if let Some(name) = configuration.targets.keys().find(|name| !is_file(name)) {
        return Err(Problem::new(
            "unknown-file",
            format!("`targets` of this step names `{name}`, which is no binary or tool of components.yaml"),
            "correct the name in config/pipeline.yaml, or remove the line",
        ));
    }
    let mut seen = BTreeSet::new();
    for file in components.iter().flat_map(|component| &component.files) {
        if !seen.insert(&file.target) {
            return Err(Problem::new(
                "same-target",
                format!("two files would be deployed to `{}`", file.target),
                "remove one of them from config/components.yaml, or give the two kinds different folders",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{ChartArtifact, Package, RepositoryEntry, ResolvedComponents, ResolvedFile};

    fn file_entry(kind: FileKind, name: &str) -> FileEntry {
        FileEntry {
            kind,
            name: name.into(),
            version: "1.34.3".into(),
            url: format!("https://example.com/{name}"),
            path: format!("bin/{name}"),
            sha256: "00".repeat(32),
            size: 1,
            checksum: None,
        }
    }

    fn chart_entry(name: &str, images: &[&str]) -> ChartEntry {
        ChartEntry {
            name: name.into(),
            version: "1.16.2".into(),
            requested: "1.x".into(),
            repo: "https://charts.example.com".into(),
            url: String::new(),
            namespace: "ns".into(),
            path: format!("charts/{name}-1.16.2.tgz"),
            sha256: "00".repeat(32),
            provenance: None,
            values: vec![format!("values/{name}-1.16.2-0")],
            images: images.iter().map(|image| (*image).to_owned()).collect(),
            artifact: None,
        }
    }

    fn everything() -> Fetched {
        let images = ["nginx:1.27", "quay.io/jetstack/controller:v1"];
        Fetched {
            components: ResolvedComponents {
                architecture: "amd64".into(),
                package: Package { name: "platform".into(), version: "1.10".into(), ..Package::default() },
                images: images.map(str::to_owned).to_vec(),
                ..ResolvedComponents::default()
            },
            images: images.map(normalized).into_iter().collect(),
            about_images: BTreeMap::new(),
            files: vec![file_entry(FileKind::Kubernetes, "kubectl"), file_entry(FileKind::Tool, "helm")],
            programs: ["bin/kubectl".into(), "bin/helm".into()].into(),
            repositories: vec![RepositoryEntry {
                name: "kubespray".into(),
                url: "https://github.com/x/kubespray.git".into(),
                zarf_reference: "https://github.com/x/kubespray.git@v2".into(),
                commit: "0".repeat(40),
                path: "kubespray-1".into(),
                is_pinned: false,
            }],
            charts: vec![chart_entry("cert-manager", &["quay.io/jetstack/controller:v1", "not/packaged:1"])],
            contributed: Vec::new(),
        }
    }

    /// Behind its image, in whichever component that is, and once.
    #[test]
    fn what_is_about_an_image_stands_behind_it() {
        let mut fetched = everything();
        let about = |name: &str| vec![format!("{name}:sha256-00.sig")];
        fetched.about_images.insert(normalized("nginx:1.27"), about("docker.io/library/nginx"));
        let controller = "quay.io/jetstack/controller";
        fetched.about_images.insert(format!("{controller}:v1"), [about(controller), about(controller)].concat());
        let definition = compose(&fetched, &Configuration::default()).unwrap();
        assert_eq!(definition.components[2].images, ["nginx:1.27", "docker.io/library/nginx:sha256-00.sig"]);
        let of_chart = ["quay.io/jetstack/controller:v1", "quay.io/jetstack/controller:sha256-00.sig"];
        assert_eq!(definition.components[4].images, of_chart);
    }

    #[test]
    fn everything_finds_its_component() {
        let definition = compose(&everything(), &Configuration::default()).unwrap();
        let names: Vec<&str> = definition.components.iter().map(|component| component.name.as_str()).collect();
        assert_eq!(names, ["kubernetes-binaries", "tools", "container-images", "repositories", "cert-manager"]);
        assert_eq!(definition.components[0].files[0].source, "../files/bin/kubectl");
        assert_eq!(definition.components[0].files[0].target, "/opt/opencenter/bin/kubectl");
        assert_eq!(definition.components[1].files[0].target, "/usr/local/bin/helm");
        assert_eq!(definition.components[2].images, ["nginx:1.27"]);
        assert_eq!(definition.components[4].images, ["quay.io/jetstack/controller:v1"], "only what is in the package");
        assert_eq!(definition.components[4].charts[0].local_path, "../charts/charts/cert-manager-1.16.2.tgz");
        let required: Vec<Option<bool>> = definition.components.iter().map(|component| component.required).collect();
        assert_eq!(required, [true, true, false, false, false].map(Some), "what a cluster is made with comes first");
        let text = zarf::to_text(&definition).unwrap();
        assert!(text.contains("version: \"1.10\"\n") && text.contains("      - name: \"cert-manager\"\n"), "{text}");
    }

    /// Guards the folder of programs: an archive in it would be in the way of
    /// whoever calls it, and nothing that cannot be run is executable.
    #[test]
    fn only_programs_are_executable_and_every_file_may_have_its_own_place() {
        let mut fetched = everything();
        fetched.files.push(file_entry(FileKind::Tool, "containerd.tar.gz"));
        let file = |configuration: &Configuration| {
            let definition = compose(&fetched, configuration).unwrap();
            definition.components[1].files.iter().map(|file| (file.target.clone(), file.executable)).collect::<Vec<_>>()
        };
        let archive = |target: &str| [("/usr/local/bin/helm".to_owned(), true), (target.to_owned(), false)];
        assert_eq!(file(&Configuration::default()), archive("/opt/opencenter/files/containerd.tar.gz"));
        let own = |name: &str| Configuration {
            targets: [(name.to_owned(), "/var/cache/containerd.tgz".to_owned())].into(),
            ..Configuration::default()
        };
        assert_eq!(file(&own("containerd.tar.gz")), archive("/var/cache/containerd.tgz"));
        assert_eq!(compose(&fetched, &own("containerd")).unwrap_err().code, "unknown-file");
        for (start, expected) in [
            (&b"\x7fELF\x02"[..], true),
            (b"#!/bin/sh", true),
            (b"\x1f\x8b\x08\x00", false),
            (b"PK\x03\x04", false),
            (b"", false),
        ] {
            assert_eq!(crate::inputs::is_program(start), expected, "{start:?}");
        }
    }

    /// Guards a package that Zarf would deploy nothing of: without files there is
    /// nothing to do before there is a cluster.
    #[test]
    fn what_is_required_and_the_order_can_be_set() {
        let mut fetched = everything();
        let set = |order: &[&str], required: &[(&str, bool)]| Configuration {
            order: order.iter().map(|name| (*name).to_owned()).collect(),
            required: required.iter().map(|(name, required)| ((*name).to_owned(), *required)).collect(),
            ..Configuration::default()
        };
        let told = |fetched: &Fetched, configuration: &Configuration| {
            let definition = compose(fetched, configuration)?;
            let one = |component: Component| (component.name, component.required.unwrap());
            Ok::<Vec<(String, bool)>, Problem>(definition.components.into_iter().map(one).collect())
        };
        let configuration = set(&["cert-manager", "tools"], &[("cert-manager", true), ("tools", false)]);
        let expected = [
            ("cert-manager", true),
            ("tools", false),
            ("kubernetes-binaries", true),
            ("container-images", false),
            ("repositories", false),
        ];
        assert_eq!(told(&fetched, &configuration).unwrap(), expected.map(|(name, is)| (name.to_owned(), is)));
        for configuration in [set(&["nobody"], &[]), set(&[], &[("nobody", true)])] {
            let problem = told(&fetched, &configuration).unwrap_err();
            assert!(problem.code == "unknown-component" && problem.message.contains("container-images"), "{problem:?}");
        }
        fetched.files.clear();
        let all = told(&fetched, &Configuration::default()).unwrap();
        assert!(all.iter().all(|(_, is_required)| *is_required), "{all:?}");
    }

    #[test]
    fn a_chart_that_is_not_installed_is_an_image_of_its_component() {
        let mut fetched = everything();
        let reference = "charts.example.com/charts/cert-manager:1.16.2";
        fetched.charts[0].provenance = Some("charts/cert-manager-1.16.2.tgz.prov".into());
        fetched.charts[0].artifact =
            Some(ChartArtifact { reference: reference.into(), manifest: String::new(), config: String::new() });
        fetched.files.push(file_entry(FileKind::Carry, "zarf"));
        let definition = compose(&fetched, &Configuration::default()).unwrap();
        let component = definition.components.last().unwrap();
        assert!(component.charts.is_empty(), "{component:?}");
        assert_eq!(component.images, ["quay.io/jetstack/controller:v1", reference]);
        assert!(definition.documentation.is_empty(), "its provenance file is a layer of it");
        let files = definition.components.iter().flat_map(|component| &component.files);
        assert!(files.into_iter().all(|file| !file.target.ends_with("/zarf")), "that one lies beside the package");
    }

    #[test]
    fn provenance_files_go_along_as_documents() {
        let mut fetched = everything();
        assert!(
            !zarf::to_text(&compose(&fetched, &Configuration::default()).unwrap()).unwrap().contains("documentation")
        );
        fetched.charts[0].provenance = Some("charts/cert-manager-1.16.2.tgz.prov".into());
        let definition = compose(&fetched, &Configuration::default()).unwrap();
        let documents: Vec<(&str, &str)> =
            definition.documentation.iter().map(|(name, source)| (name.as_str(), source.as_str())).collect();
        assert_eq!(documents, [("cert-manager-1.16.2.tgz.prov", "../charts/charts/cert-manager-1.16.2.tgz.prov")]);
    }

    #[test]
    fn an_empty_package_is_an_error_that_says_so() {
        let mut empty = everything();
        empty.components.images.clear();
        empty.files.clear();
        empty.repositories.clear();
        empty.charts.clear();
        let problem = compose(&empty, &Configuration::default()).unwrap_err();
        assert_eq!(problem.code, "empty-package");
    }

    #[test]
    fn what_was_asked_for_and_did_not_arrive_is_named() {
        let mut fetched = everything();
        fetched.images.clear();
        fetched.components.files.push(ResolvedFile {
            kind: FileKind::Tool,
            name: "yq".into(),
            version: "4".into(),
            url: String::new(),
            checksum_url: None,
            sha256: None,
            extract: false,
            binary: None,
        });
        let problem = compose(&fetched, &Configuration::default()).unwrap_err();
        assert_eq!(problem.code, "not-delivered");
        assert!(problem.message.contains("image nginx:1.27") && problem.message.contains("file yq"));
    }

    #[test]
    fn names_become_valid_and_unique() {
        let mut fetched = everything();
        fetched.charts =
            vec![chart_entry("tools", &[]), chart_entry("3scale_Operator", &[]), chart_entry("tools", &[])];
        let definition = compose(&fetched, &Configuration::default()).unwrap();
        let names: Vec<&str> = definition.components.iter().map(|component| component.name.as_str()).collect();
        assert_eq!(names[4..], ["tools-2", "3scale-operator", "tools-3"]);
        assert_eq!(definition.components[5].charts[0].release_name, "chart-3scale-operator");
        assert_eq!(definition.components[4].charts[0].release_name, "");

        fetched.charts = vec![chart_entry(&"x".repeat(41), &[])];
        assert_eq!(compose(&fetched, &Configuration::default()).unwrap_err().code, "chart-name");
        fetched.charts.clear();
        fetched.files.push(file_entry(FileKind::Tool, "helm"));
        assert_eq!(compose(&fetched, &Configuration::default()).unwrap_err().code, "same-target");
        fetched.files.clear();
        fetched.components.package.name = "My Platform".into();
        assert_eq!(compose(&fetched, &Configuration::default()).unwrap_err().code, "package-name");
    }
}

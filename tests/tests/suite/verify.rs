//! Guards the receiving side: `verify` needs nothing but the package, passes
//! what a build made, and names what is damaged.

use airgap_tests::images::Image;
use airgap_tests::project::Project;
use airgap_tests::registry::Registry;

fn built(registry: &Registry) -> Project {
    registry.push("app:1", &Image::small(1, 50_000));
    let project = Project::new().with_registry(&registry.host()).with_image(registry.reference("app:1"));
    project.build();
    project
}

/// The path of the package as a command takes it.
fn path(project: &Project) -> String {
    project.package().display().to_string()
}

#[test]
fn what_a_build_made_is_sound() {
    let registry = Registry::start();
    let project = built(&registry);
    project.run(&["verify", &path(&project)]).success().prints(&["platform 1.0.0", "sound"]);
    let report = project.run(&["verify", "--json", &path(&project)]).success().json();
    assert_eq!(report["event"], "verified");
    assert_eq!(report["sound"], true);
    assert_eq!(report["checksum_file"], "matches");
    assert_eq!(report["artifact_manifest"], "matches");
    assert_eq!(report["identity"]["images"], 1);
}

#[test]
fn neither_configuration_nor_build_nor_network_is_needed() {
    let registry = Registry::start();
    let project = built(&registry);
    let field = Project::bare();
    field.write("received.tar.zst", std::fs::read(project.package()).unwrap());
    registry.forget();
    field.run(&["verify", "received.tar.zst"]).success().prints(&["not there"]);
    assert_eq!(registry.render_log(), "");
    assert!(!field.exists("build") && !field.exists("config"));
}

/// dist/ keeps what earlier builds made, and one list of what is in the last.
#[test]
fn an_older_package_in_dist_is_sound() {
    let registry = Registry::start();
    let project = built(&registry);
    let old = path(&project);
    let older = old.replace("1.0.0", "0.9.0");
    std::fs::copy(&old, &older).unwrap();
    let report = project.run(&["verify", "--json", &older]).success().json();
    assert_eq!(report["artifact_manifest"], "missing");
    assert!(report["remarks"][0].as_str().unwrap().contains("1.0.0"), "{report}");
}

#[test]
fn a_damaged_byte_ends_with_4() {
    let registry = Registry::start();
    let project = built(&registry);
    let mut bytes = std::fs::read(project.package()).unwrap();
    for at in [bytes.len() / 3, bytes.len() / 2, bytes.len() - 10] {
        bytes[at] ^= 0x20;
        project.write("damaged.tar.zst", &bytes);
        bytes[at] ^= 0x20;
        let run = project.run(&["verify", "damaged.tar.zst"]).code(4).says(&["damaged or incomplete"]);
        assert!(run.stdout.contains('✗'), "{run}");
        let report = project.run(&["verify", "--json", "damaged.tar.zst"]).code(4).json();
        assert_eq!(report["sound"], false);
        assert!(!report["problems"].as_array().unwrap().is_empty());
    }
}

#[test]
fn a_package_that_was_cut_or_exchanged_ends_with_4() {
    let registry = Registry::start();
    let project = built(&registry);
    let bytes = std::fs::read(project.package()).unwrap();
    project.write("cut.tar.zst", &bytes[..bytes.len() - 1000]);
    project.run(&["verify", "cut.tar.zst"]).code(4);
    project.write("empty.tar.zst", "");
    project.run(&["verify", "empty.tar.zst"]).code(4);

    let name = project.package().file_name().unwrap().to_string_lossy().into_owned();
    project.write(&format!("dist/{name}.sha256"), format!("{}  {name}\n", "0".repeat(64)));
    project.run(&["verify", &path(&project)]).code(4).prints(&["checksum-file"]);
}

#[test]
fn a_package_that_is_not_there_is_said_to_be_so() {
    Project::bare().run(&["verify", "nothing.tar.zst"]).code(1).says(&["nothing.tar.zst"]);
}

/// A data diode, or `ssh build-host cat …`, has no file to name.
#[test]
fn a_package_is_verified_as_it_streams_in() {
    let registry = Registry::start();
    let project = built(&registry);
    let package = std::fs::read(project.package()).unwrap();
    let piped = |bytes: &[u8]| {
        let mut command = project.command(&["verify", "--json", "-"]);
        let mut running =
            command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut input = running.stdin.take().unwrap();
        std::io::Write::write_all(&mut input, bytes).unwrap();
        drop(input);
        let output = running.wait_with_output().unwrap();
        (output.status.code(), serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap())
    };
    let (code, report) = piped(&package);
    assert_eq!((code, &report["sound"]), (Some(0), &true.into()), "{report}");
    assert_eq!(report["checksum_file"], "missing", "of a pipe nothing lies beside");
    let (code, report) = piped(&package[..package.len() - 1]);
    assert_eq!((code, &report["sound"]), (Some(4), &false.into()), "{report}");
}

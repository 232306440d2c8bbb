//! The corpus: archives from both sides of every rule, each with what the real
//! Helm says of it. The reader must say the same.

use std::io::Write;
use std::process::Command;

use airgap_chart_loader::{install, load};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

struct Case {
    name: &'static str,
    helm3: &'static str,
    helm4: &'static str,
    install: &'static str,
    archive: Vec<u8>,
}

fn corpus() -> Vec<Case> {
    let rows = include_str!("corpus.tsv").lines().filter(|line| !line.starts_with('#'));
    let case = |line: &'static str| {
        let [name, helm3, helm4, install, archive] =
            line.split('\t').collect::<Vec<_>>().try_into().expect("five columns");
        Case { name, helm3, helm4, install, archive: STANDARD.decode(archive).expect("base64") }
    };
    rows.map(case).collect()
}

#[test]
fn what_helm_loads_is_loaded_and_nothing_else() {
    let corpus = corpus();
    assert!(corpus.len() > 400, "{}", corpus.len());
    let mut wrong = Vec::new();
    for case in &corpus {
        let expected = case.helm3 == "ok" && case.helm4 == "ok";
        let found = load(case.archive.as_slice()).map(drop);
        if found.is_ok() != expected {
            wrong.push(format!("{}: Helm 3 {}, Helm 4 {}, and here {found:?}", case.name, case.helm3, case.helm4));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), corpus.len(), wrong.join("\n"));
}

#[test]
fn what_helm_installs_is_installed_and_nothing_else() {
    let mut wrong = Vec::new();
    for case in corpus() {
        let Ok(chart) = load(case.archive.as_slice()) else { continue };
        let expected = case.install == "ok";
        let found = install::check(&chart, Some(chart.values.clone()));
        if found.is_ok() != expected {
            wrong.push(format!("{}: Helm {}, and here {found:?}", case.name, case.install));
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// The verdicts are not ours: a Helm that is there says the same again.
#[test]
#[expect(clippy::disallowed_methods, reason = "files of a test need no sync")]
fn the_recorded_verdicts_are_helms() {
    let helm = |arguments: &[&str]| Command::new("helm").args(arguments).output();
    let Ok(version) = helm(&["version", "--short"]) else {
        let _ = writeln!(std::io::stderr(), "SKIPPED: helm is not on the PATH");
        return;
    };
    let is_helm_4 = version.stdout.starts_with(b"v4");
    let folder = tempfile::tempdir().unwrap();
    for case in corpus() {
        let path = folder.path().join(format!("{}.tgz", case.name));
        std::fs::write(&path, &case.archive).unwrap();
        let path = path.to_str().expect("a temporary folder has a name");
        let loaded = if is_helm_4 { case.helm4 } else { case.helm3 };
        let says = |arguments: &[&str], recorded: &str| {
            let says = helm(arguments).unwrap();
            let why = String::from_utf8_lossy(&says.stderr);
            assert_eq!(says.status.success(), recorded == "ok", "{}, {arguments:?}: {recorded} but {why}", case.name);
        };
        says(&["show", "chart", path], loaded);
        // What one of them does not load was tried no further.
        if !is_helm_4 && case.install != "-" {
            says(&["template", "x", path], case.install);
        }
    }
}

//! The place of a plugin among the host's own things: what it publishes, whose
//! name it takes, whose bytes run, and what the user is shown at the moment of
//! trust.

use airgap_tests::digest::sha256;
use airgap_tests::file_server::FileServer;
use airgap_tests::project::Project;
use airgap_tests::step_component::{self as component, Said};
use serde_json::{Value, json};

use crate::arena::Arena;
use crate::attack::{Attack, Ready, guest};
use crate::inside::shows_nothing_hostile;

fn write(path: &str, text: &str) -> Value {
    json!({ "do": "write", "path": path, "text": text })
}

/// A step of the attacker that publishes.
fn publishing(arena: &Arena, acts: Value, from: &str, to: &str) -> Ready {
    let attack = Attack::new(arena, acts).last("publish", json!([{ "from": from, "to": to }]));
    let ready = attack.ready();
    // What the host itself published before.
    ready.project.write("dist/zarf-package-platform-amd64-1.0.0.tar.zst", "the real package");
    ready.project.write("dist/zarf-package-platform-amd64-1.0.0.tar.zst.sha256", "its digest");
    ready.project.write("dist/artifact-manifest.json", "{}");
    ready
}

/// Every file that decides about the next build.
const OWN: &[&str] = &[
    "plugins.lock",
    "airgap.lock",
    "settings.yaml",
    "pipeline.yaml",
    "versions.env",
    "catalog.yaml",
    "components.yaml",
    "components.base.yaml",
];

#[test]
fn nothing_is_published_into_the_configuration() {
    let Some(arena) = Arena::enter() else { return };
    for name in OWN {
        for from in [*name, "*", &format!("*{}", &name[name.len() - 5..])] {
            let acts = json!([write(name, "format: 1\nplugins: {}\n# planted\n")]);
            let built = publishing(&arena, acts, from, "config").build(&[]);
            assert!(matches!(built.run.status.code(), Some(1 | 3)), "{name} from {from}: {}", built.run);
            let planted = built.project.config_files().into_iter().find(|(_, text)| text.ends_with(b"# planted\n"));
            assert!(planted.is_none(), "{planted:?}");
        }
    }
}

#[test]
fn nothing_is_published_over_the_package() {
    let Some(arena) = Arena::enter() else { return };
    for name in [
        "zarf-package-platform-amd64-1.0.0.tar.zst",
        "zarf-package-platform-amd64-1.0.0.tar.zst.sha256",
        "artifact-manifest.json",
        "ARTIFACT-MANIFEST.JSON",
    ] {
        for from in [name, "*"] {
            let built = publishing(&arena, json!([write(name, "planted")]), from, "dist").build(&[]);
            // A wildcard does not match what is the host's.
            let nothing_done = from == "*" && built.run.status.success();
            assert!(
                nothing_done || matches!(built.run.status.code(), Some(1 | 3)),
                "{name} from {from}: {}",
                built.run
            );
            let dist = std::fs::read_dir(built.project.path("dist")).unwrap();
            for entry in dist {
                let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
                assert_ne!(text, "planted", "{name} from {from}");
            }
        }
    }
}

#[test]
fn nothing_is_published_through_a_link_or_twice() {
    let Some(arena) = Arena::enter() else { return };
    let ready = publishing(&arena, json!([write("report.txt", "planted")]), "report.txt", "dist");
    ready.project.write("precious", "mine");
    std::os::unix::fs::symlink("../precious", ready.project.path("dist/report.txt")).unwrap();
    let built = ready.build(&[]);
    assert_eq!(built.project.read("precious"), "mine", "{}", built.run);

    let ready = Attack::new(&arena, json!([]))
        .step("first", &json!({ "plugin": "attacker" }), &["config"])
        .acts(json!([write("report.txt", "one")]))
        .last("publish", json!([{ "from": "report.txt", "to": "dist" }]))
        .step("second", &json!({ "plugin": "attacker" }), &["config"])
        .acts(json!([write("report.txt", "two")]))
        .last("publish", json!([{ "from": "*.txt", "to": "dist" }]))
        .ready();
    let built = ready.build(&[]);
    assert!(matches!(built.run.status.code(), Some(1 | 3)), "{}", built.run);
}

#[test]
fn no_plugin_takes_the_place_of_a_core_plugin_unasked() {
    let Some(arena) = Arena::enter() else { return };
    for name in ["package", "manifest", "charts", "zarf-yaml"] {
        let ready = Attack::new(&arena, json!([])).pin(name, &json!({}), &guest()).ready();
        ready.build(&[]).run.code(3).says(&[name, "replace_core"]);

        let said = Said { name: name.to_owned(), ..Said::default() };
        let project = Project::new();
        project.write("plugins/made.wasm", component::component(&said, Vec::new()));
        project.run(&["plugin", "add", "plugins/made.wasm"]).code(3).says(&[name, "--replace-core"]);
        assert!(!project.exists("config/plugins.lock"));
    }
}

#[test]
fn no_plugin_is_called_almost_like_a_core_plugin() {
    let Some(_arena) = Arena::enter() else { return };
    for name in ["ch\u{430}rts", "charts\u{200b}", "Charts", "charts ", "pack\u{ad}age", "../charts", "a/b", ""] {
        let said = Said { name: name.to_owned(), ..Said::default() };
        let project = Project::new();
        project.write("plugins/made.wasm", component::component(&said, Vec::new()));
        let run = project.run(&["plugin", "add", "plugins/made.wasm"]);
        assert!(matches!(run.status.code(), Some(1 | 3)), "{name:?} was added: {run}");
        assert!(!project.exists("config/plugins.lock"), "{name:?}");
        shows_nothing_hostile(name, &run.stderr);
    }
}

const HOSTILE: &str =
    "\u{1b}[2J\rgood\u{7f}\u{9b}31m\u{202e}txt.exe\u{2066}\u{2028}\u{200b}\u{2060}\u{feff}\u{ad}\u{e0041}\u{61c}end";

#[test]
fn nothing_hostile_is_shown_at_the_moment_of_trust() {
    let Some(_arena) = Arena::enter() else { return };
    let schema = json!({ "title": HOSTILE, "properties": { HOSTILE: { "description": HOSTILE } } }).to_string();
    let wants = vec![format!("https://example.com/{HOSTILE}/")];
    let said = Said { summary: HOSTILE.to_owned(), schema, wants, ..Said::default() };
    let project = Project::new();
    project.write("plugins/made.wasm", component::component(&said, Vec::new()));
    for arguments in [
        &["plugin", "inspect", "plugins/made.wasm"][..],
        &["plugin", "inspect", "plugins/made.wasm", "--json"],
        &["plugin", "add", "plugins/made.wasm"],
        &["plugin", "list"],
        &["plugin", "list", "--json"],
        &["plugin", "inspect", "made"],
    ] {
        let run = project.run(arguments);
        shows_nothing_hostile(&format!("{arguments:?}"), &run.stdout);
        shows_nothing_hostile(&format!("{arguments:?}"), &run.stderr);
    }
}

/// And of files that somebody else put there.
#[test]
fn no_name_of_a_file_is_shown_as_it_is() {
    let Some(arena) = Arena::enter() else { return };
    let ready = Attack::new(&arena, json!([write("a.txt", "x")]))
        .last("publish", json!([{ "from": "a.txt", "to": "dist" }]))
        .ready();
    let hostile = HOSTILE.replace('/', "");
    ready.project.write(&format!("dist/{hostile}.txt"), "x");
    ready.project.write(&format!("config/{hostile}.yaml"), "x");
    for arguments in [&["build"][..], &["build", "--json"], &["status"], &["gc"], &["verify"], &["clean"]] {
        let run = ready.project.run(arguments);
        shows_nothing_hostile(&format!("{arguments:?}"), &run.stdout);
        shows_nothing_hostile(&format!("{arguments:?}"), &run.stderr);
    }
}

#[test]
fn other_bytes_than_the_pinned_ones_never_run() {
    let Some(arena) = Arena::enter() else { return };
    let acts = json!([write("a.txt", "x")]);
    let ready = Attack::new(&arena, acts).ready();
    let mut other = guest();
    // A custom section: another component that does the same.
    other.extend_from_slice(&[0, 2, 1, b'x']);
    ready.project.write("plugins/attacker.wasm", &other);
    let built = ready.build(&[]);
    built.run.clone().code(3).says(&["attacker", &sha256(&guest())]);
    assert!(!built.project.exists("build/steps/attack"));
}

/// While a build reads it, the file is another one in every moment.
#[test]
fn a_component_that_is_swapped_while_it_is_read_never_runs() {
    let Some(arena) = Arena::enter() else { return };
    let honest = component::component(&Said::default(), Vec::new());
    for _ in 0..5 {
        let ready = Attack::new(&arena, json!([write("a.txt", "x")])).ready();
        let path = ready.project.path("plugins/attacker.wasm");
        let (pinned, other) = (ready.project.path("pinned"), ready.project.path("other"));
        std::fs::write(&pinned, guest()).unwrap();
        std::fs::write(&other, &honest).unwrap();
        let mut running = ready.project.start(&["build"]);
        for round in 0.. {
            let link = path.with_extension("new");
            let target = if round % 2 == 0 { &other } else { &pinned };
            std::os::unix::fs::symlink(target, &link).unwrap();
            std::fs::rename(&link, &path).unwrap();
            if !running.is_running() {
                break;
            }
        }
        let run = running.finish();
        // Either the pinned bytes ran, or none.
        assert!(matches!(run.status.code(), Some(0 | 1 | 3)), "{run}");
        assert_eq!(run.status.success(), ready.project.exists("build/steps/attack/a.txt"), "{run}");
        run.never_says("unreachable");
    }
}

/// Who writes into the cache of compiled plugins runs code in the host. The
/// cache belongs to the user; what is damaged there is compiled again.
#[test]
fn a_damaged_cache_is_compiled_again() {
    let Some(arena) = Arena::enter() else { return };
    let project = Project::new();
    let cache = project.path("cache");
    let project = project.with_env("XDG_CACHE_HOME", cache.to_string_lossy());
    let acts = json!([write("a.txt", "x")]);
    let ready = Attack::on(&arena, project, &["manifests"], acts).ready();
    ready.project.run(&["build"]).success();
    let compiled = files(&cache);
    assert!(!compiled.is_empty(), "nothing was kept");
    for file in &compiled {
        let mut bytes = std::fs::read(file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(file, bytes).unwrap();
    }
    ready.project.run(&["build", "--clean"]).success();
    for file in &compiled {
        std::fs::write(file, "").unwrap();
    }
    ready.project.run(&["build", "--clean"]).success();
    assert_eq!(ready.project.read("build/steps/attack/a.txt"), "x");
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

/// A lock that somebody else wrote, in a project that somebody else made: what
/// brings components back writes components of the project. Without the second
/// wall, which would not let it either.
#[test]
fn no_lock_makes_an_update_write_elsewhere() {
    let Some(_arena) = Arena::enter() else { return };
    let server = FileServer::start();
    let key = b"ssh-ed25519 AAAA attacker\n";
    let url = server.put("/key", key.to_vec());
    let elsewhere = tempfile::tempdir().unwrap();
    for path in ["plugins/link/authorized_keys", "plugins/link/new/x.wasm", "link/x.wasm", "charts/x.wasm", "../x.wasm"]
    {
        let project = Project::new().with_file_server(&server.host());
        let project = project.with_settings(|settings| settings["security"]["second_wall"] = json!("off"));
        std::fs::create_dir_all(project.path("plugins")).unwrap();
        for link in ["plugins/link", "link"] {
            std::os::unix::fs::symlink(elsewhere.path(), project.path(link)).unwrap();
        }
        let pin = json!({ "path": path, "sha256": sha256(key), "source": url });
        project.write("config/plugins.lock", json!({ "format": 1, "plugins": { "x": pin } }).to_string());
        let run = project.run(&["plugin", "update", "--locked"]).code(3);
        assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0, "{path}: {run}");
        assert!(!project.exists("charts"), "{run}");
    }
}

/// Whoever has a source decides what a plugin calls itself, and not where it
/// lies; and a server that sends it elsewhere is followed to no other scheme.
#[test]
fn no_source_decides_where_its_bytes_lie() {
    let Some(_arena) = Arena::enter() else { return };
    let server = FileServer::start();
    let made = |name: &str| component::component(&Said { name: name.to_owned(), ..Said::default() }, Vec::new());
    let project = Project::new().with_file_server(&server.host());
    for (number, name) in ["../../evil", "/tmp/evil", "plugins/evil", ".", "e\0vil"].iter().enumerate() {
        let url = server.put(&format!("/{number}.wasm"), made(name));
        let run = project.run(&["plugin", "add", &url]).code(3);
        shows_nothing_hostile(name, &run.stderr);
    }
    for to in ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/"] {
        project.run(&["plugin", "add", &server.redirect("/away.wasm", to)]).code(1);
    }
    assert!(!project.exists("config/plugins.lock"));
    assert_eq!(std::fs::read_dir(project.path("plugins")).unwrap().count(), 0);
}

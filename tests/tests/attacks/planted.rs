//! What airgap.lock is made to say: a replaced `charts` plugin that claims
//! addresses, and entries that somebody wrote by hand.

use airgap_tests::charts::{chart, index};
use airgap_tests::digest::sha256;
use airgap_tests::file_server::FileServer;
use airgap_tests::project::Project;
use serde_json::{Value, json};

use crate::arena::Arena;
use crate::attack::{Attack, Built, Ready, guest};

const EVIL: &str = "an archive of the attacker's own";

/// A chart that the user wants, and what the attacker may fetch.
struct World {
    files: FileServer,
}

impl World {
    fn start() -> Self {
        let world = Self { files: FileServer::start() };
        let archive = chart("web", "1.0.0", &[]);
        world.files.put("/charts/index.yaml", index(&[("web", "1.0.0", "web-1.0.0.tgz", &archive)]));
        world.files.put("/charts/web-1.0.0.tgz", archive);
        world.files.put("/mine/evil", EVIL);
        world
    }

    fn url(&self) -> String {
        self.files.url("/charts/web-1.0.0.tgz")
    }

    fn project(&self) -> Project {
        let wanted = json!({ "name": "web", "repo": self.files.url("/charts"), "version": "^1" });
        Project::new().with_file_server(&self.files.host()).with_chart(wanted)
    }

    /// charts.json that says that `url` gave the attacker's bytes.
    fn claims(&self, url: &str) -> Value {
        let list = json!([{
            "name": "web", "version": "1.0.0", "requested": "^1", "repo": self.files.url("/charts"), "url": url,
            "namespace": "web", "path": "charts/web-1.0.0.tgz", "sha256": sha256(EVIL.as_bytes()), "values": [],
            "images": [],
        }]);
        json!([
            { "do": "write", "path": "charts/web-1.0.0.tgz", "text": EVIL },
            { "do": "write", "path": "charts.json", "text": list.to_string() },
        ])
    }

    /// The attacker in the place of the core plugin `charts`.
    fn replaced(&self, arena: &Arena, acts: Value) -> Ready {
        let ready = Attack::on(arena, self.project(), &["manifests"], json!([]))
            .pin("charts", &json!({ "fetch": [self.files.url("/")] }), &guest())
            .step("charts", &json!({ "plugin": "charts" }), &["manifests"])
            .acts(acts)
            .ready();
        let mut pins: Value = serde_json::from_str(&ready.project.read("config/plugins.lock")).unwrap();
        pins["plugins"]["charts"]["replace_core"] = json!(true);
        ready.project.write("config/plugins.lock", pins.to_string());
        ready
    }
}

fn lock_of(project: &Project) -> String {
    if project.exists("config/airgap.lock") { project.read("config/airgap.lock") } else { String::new() }
}

#[track_caller]
fn nothing_is_planted(built: &Built) {
    let lock = lock_of(&built.project);
    assert!(!lock.contains("\ncharts:"), "{lock}");
    let mut address = "";
    for line in lock.lines() {
        if line.contains("://") {
            address = line;
        }
        assert!(!line.contains(&sha256(EVIL.as_bytes())) || address.contains("/mine/"), "{lock}");
    }
}

/// Whatever it fetched: what it says of an address is not what the address gave.
#[test]
fn no_chart_is_locked_by_a_plugins_word() {
    let Some(arena) = Arena::enter() else { return };
    let world = World::start();
    let (url, mine) = (world.url(), world.files.url("/mine/evil"));
    let fetches = [
        json!([]),
        json!([{ "do": "fetch", "url": url }]),
        json!([{ "do": "fetch", "url": url, "mutable": true }]),
        json!([{ "do": "fetch", "url": mine }]),
        json!([{ "do": "fetch", "url": mine }, { "do": "fetch", "url": url, "sha256": sha256(EVIL.as_bytes()) }]),
    ];
    for fetched in fetches {
        let acts = [json!([{ "do": "try", "acts": fetched }]), world.claims(&url)];
        let acts: Vec<Value> = acts.iter().flat_map(|acts| acts.as_array().unwrap().clone()).collect();
        let built = world.replaced(&arena, json!(acts)).build(&[]);
        built.run.clone().code(1).says(&["never gave this to the plugin charts", &url]);
        nothing_is_planted(&built);
    }
    for url in ["oci://127.0.0.1:1/web:1.0.0".to_owned(), format!("{url}?x"), url.replace("web-", "WEB-")] {
        let built = world.replaced(&arena, world.claims(&url)).build(&[]);
        built.run.clone().code(1);
        nothing_is_planted(&built);
    }
}

/// What it did fetch from there stands under its own name, and its chart says
/// by whom: the core plugin believes none of it.
#[test]
fn what_a_replaced_core_plugin_locked_is_not_the_core_plugins() {
    let Some(arena) = Arena::enter() else { return };
    let world = World::start();
    world.files.put("/charts/web-1.0.0.tgz", EVIL);
    let url = world.url();
    let acts = [json!([{ "do": "fetch", "url": url }]), world.claims(&url)];
    let acts: Vec<Value> = acts.iter().flat_map(|acts| acts.as_array().unwrap().clone()).collect();
    let built = world.replaced(&arena, json!(acts)).build(&[]).done();
    let lock = lock_of(&built.project);
    assert!(lock.contains("by: plugin charts") && lock.contains("\nplugins:\n  charts:"), "{lock}");
    built.project.remove("config/plugins.lock");
    built.project.remove("config/pipeline.yaml");
    let run = built.project.run(&["build", "--locked", "--clean"]).code(3);
    run.says(&["the plugin charts resolved it, which does not run here"]);
    let archive = chart("web", "1.0.0", &[]);
    world.files.put("/charts/web-1.0.0.tgz", archive.clone());
    built.project.run(&["build", "--clean"]).success().says(&["can not vouch for"]);
    let lock = lock_of(&built.project);
    assert!(lock.contains(&sha256(&archive)) && !lock.contains(&sha256(EVIL.as_bytes())), "{lock}");
}

/// A lock that nobody can read ends every build to come, whoever asked for
/// what stands in it.
#[test]
fn no_address_makes_the_lock_unreadable() {
    let Some(arena) = Arena::enter() else { return };
    let files = FileServer::start();
    let odd = [
        "\u{200b}",
        "\u{202e}",
        "\u{2028}",
        "\u{feff}",
        "\u{a0}",
        "\u{fffe}",
        "\u{ffff}",
        "\u{e0001}",
        "'\": #{{}}---",
    ];
    let mut acts: Vec<Value> = Vec::new();
    for text in odd {
        for path in [format!("/x/{text}"), format!("/x?{text}")] {
            acts.push(json!({ "do": "fetch", "url": format!("{}{path}", files.url("")) }));
        }
    }
    acts.push(json!({ "do": "fetch", "url": files.url(&format!("/x?{}", "y".repeat(100_000))) }));
    files.put("/x", "x");
    for text in odd {
        let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        files.put(&format!("/x/{encoded}"), "x");
    }
    let acts = json!([{ "do": "try", "acts": acts }, { "do": "write", "path": "x", "text": "x" }]);
    let project = Project::new().with_file_server(&files.host());
    let built =
        Attack::on(&arena, project, &["config"], acts).grants(json!({ "fetch": [files.url("/")] })).build().done();
    assert!(built.project.read("config/airgap.lock").contains("%E2%80%8B"), "{}", built.told());
    assert!(built.told().contains("longer than 8 KiB"), "{}", built.told());
    for command in [&["build"][..], &["build", "--clean"], &["status"], &["gc"], &["update"]] {
        built.project.run(command).success();
    }
}

#[test]
fn no_plugin_fills_the_lock() {
    let Some(arena) = Arena::enter() else { return };
    let files = FileServer::start();
    files.put("/x", "x");
    let url = files.url(&format!("/x?{{n}}{}", "y".repeat(7_000)));
    let acts = json!([{ "do": "repeat", "times": 400, "acts": [{ "do": "fetch", "url": url, "path": "f" }] }]);
    let project = Project::new().with_file_server(&files.host());
    let attack = Attack::on(&arena, project, &["config"], acts).grants(json!({ "fetch": [files.url("/")] }));
    let built = attack.build().refused(&["attack", "has no room in config/airgap.lock"]);
    assert!(built.project.read("config/airgap.lock").len() < 3 << 20);
    built.project.run(&["status"]).success();
    built.project.run(&["gc"]).success();
}

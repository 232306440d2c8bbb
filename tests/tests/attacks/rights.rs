//! What a plugin reads and what it makes others believe: the project's folder,
//! the store, the lock. A digest is never a right, and what a plugin says is
//! never one.

use airgap_tests::digest::sha256;
use airgap_tests::fault::{Fault, On};
use airgap_tests::file_server::FileServer;
use airgap_tests::images::Image;
use airgap_tests::project::Project;
use airgap_tests::registry::Registry;
use serde_json::{Value, json};

use crate::arena::Arena;
use crate::attack::{Attack, Built, SECRET};

/// A chart in the project that the user named, and secrets around it.
fn secretive() -> Project {
    let project = Project::new()
        .with_chart(json!({ "name": "site", "repo": "./charts/site", "version": "0.3.0", "namespace": "site" }));
    project.write("charts/site/Chart.yaml", "apiVersion: v2\nname: site\nversion: 0.3.0\n");
    project.write("charts/site/values.yaml", "of: the user's chart\n");
    for path in [".env", ".git/config", "notes/plan.md", "charts/site/.git/config", "charts/other/Chart.yaml"] {
        project.write(path, SECRET);
    }
    project.write("config/private/token", SECRET);
    project
}

/// What a plugin would write to have `repo` and `values` handed to the next.
fn components(repo: &str, values: &[&str]) -> String {
    let chart = json!({ "name": "x", "repo": repo, "version": "1.0.0", "namespace": "x", "values": values });
    json!({
        "architecture": "amd64", "package": { "name": "platform", "version": "1.0.0" },
        "files": [], "repositories": [], "images": [], "charts": [chart],
    })
    .to_string()
}

fn claims(repo: &str, values: &[&str]) -> Value {
    json!([{ "do": "write", "path": "components.resolved.json", "text": components(repo, values) }])
}

#[track_caller]
fn gives_nothing_away(arena: &Arena, repo: &str, values: &[&str]) {
    let attack = Attack::on(arena, secretive(), &["manifests"], claims(repo, values)).spied_by(&["attack"]);
    let built = attack.build().keeps(SECRET).keeps("backoff");
    assert!(matches!(built.run.status.code(), Some(0 | 1 | 3)), "{}", built.run);
}

/// Without this the other tests would pass in a host that hands over nothing.
#[test]
fn a_chart_that_the_user_names_is_handed_over() {
    let Some(arena) = Arena::enter() else { return };
    let built = Attack::on(&arena, secretive(), &["manifests"], json!([{ "do": "spy" }])).build().done().keeps(SECRET);
    assert!(built.told().contains("of: the user's chart"), "{}", built.told());
}

#[test]
fn the_project_folder_is_not_handed_over_by_a_plugins_word() {
    let Some(arena) = Arena::enter() else { return };
    for repo in ["./", ".", "./.", "../", "./charts", "./charts/site/..", "./charts/other", "./config", "/"] {
        gives_nothing_away(&arena, repo, &[]);
    }
}

#[test]
fn no_file_is_handed_over_as_values_by_a_plugins_word() {
    let Some(arena) = Arena::enter() else { return };
    let files = [".env", ".git/config", "config/settings.yaml", "config/private/token", "notes/plan.md"];
    for file in files {
        gives_nothing_away(&arena, "./charts/site", &[file]);
    }
    gives_nothing_away(&arena, "./", &files);
}

#[test]
fn no_file_is_handed_over_through_a_link() {
    let Some(arena) = Arena::enter() else { return };
    let project = secretive();
    for (name, target) in [("env", "../../.env"), ("all", "../.."), ("absolute", "/etc/hosts")] {
        std::os::unix::fs::symlink(target, project.path(&format!("charts/site/{name}"))).unwrap();
    }
    let acts = json!([
        { "do": "try", "acts": [
            { "do": "read", "tree": "local:./charts/site", "path": "env" },
            { "do": "read", "tree": "local:./charts/site", "path": "all/.env" },
            { "do": "read", "tree": "local:./charts/site", "path": "absolute" },
            { "do": "read", "tree": "local:./charts/site", "path": "../../.env" },
        ]},
        { "do": "spy" },
    ]);
    // A host that refuses the chart for its links is as good.
    let built = Attack::on(&arena, project, &["manifests"], acts).build().keeps(SECRET).keeps("n0.arena.test");
    assert!(matches!(built.run.status.code(), Some(0 | 1 | 3)), "{}", built.run);
}

/// A registry with a secret image and a file server with a secret tool and the
/// attacker's own folder.
struct World {
    registry: Registry,
    files: FileServer,
}

const TOOL: &str = "#!/bin/sh\necho the real tool\n";
const EVIL: &str = "#!/bin/sh\necho the attacker's tool\n";

impl World {
    fn start() -> Self {
        let world = Self { registry: Registry::start(), files: FileServer::start() };
        world.registry.push("secret/app:1", &Image::small(1, 5_000));
        world.files.put("/tools/yq", TOOL);
        world.files.put("/mine/evil", EVIL);
        world.files.put("/private/plan", SECRET);
        world
    }

    fn project(&self) -> Project {
        Project::new()
            .with_registry(&self.registry.host())
            .with_file_server(&self.files.host())
            .with_image(self.registry.reference("secret/app:1"))
            .with_tool("yq", &self.files.url("/tools/yq"), None)
            .with_tool("plan", &self.files.url("/private/plan"), None)
    }

    fn grants(&self, paths: &[&str]) -> Value {
        let mut fetch: Vec<String> = paths.iter().map(|path| self.files.url(path)).collect();
        fetch.push(format!("{}/mine/", self.registry.host()));
        json!({ "fetch": fetch })
    }

    /// Every digest that a reader of airgap.lock knows.
    fn digests(&self) -> Vec<String> {
        let image = Image::small(1, 5_000);
        let mut digests: Vec<String> = image.blobs().map(|blob| blob.hex().to_owned()).collect();
        digests.push(image.digest().trim_start_matches("sha256:").to_owned());
        digests.extend([TOOL, SECRET].map(|text| sha256(text.as_bytes())));
        digests
    }

    /// After a whole build the attacker asks for each digest in its own way;
    /// all of it is refused, and nothing of it is learnt. Offline it asks again.
    #[track_caller]
    fn loot(&self, arena: &Arena, ask: impl Fn(&str) -> Value) {
        let asked: Vec<Value> = self.digests().iter().map(|digest| ask(digest)).collect();
        let acts = json!([{ "do": "try", "acts": asked }]);
        let built = Attack::on(arena, self.project(), &["images", "files"], acts)
            .grants(self.grants(&["/mine/"]))
            .step("images", &json!({ "host": "images" }), &["manifests"])
            .step("files", &json!({ "host": "files" }), &["manifests"])
            .build()
            .done()
            .keeps(SECRET)
            .all_refused(asked.len());
        let run = built.project.run(&["build", "--clean", "--offline"]);
        Built { project: built.project, run }.done().keeps(SECRET).all_refused(asked.len());
    }
}

#[test]
fn a_digest_is_no_right_to_a_blob_by_url() {
    let Some(arena) = Arena::enter() else { return };
    let world = World::start();
    let url = world.files.url("/mine/nothing");
    world.loot(&arena, |digest| json!({ "do": "fetch", "url": url, "sha256": digest }));
}

#[test]
fn a_digest_is_no_right_to_a_blob_of_a_mutable_address() {
    let Some(arena) = Arena::enter() else { return };
    let world = World::start();
    let url = world.files.url("/mine/evil");
    world.loot(&arena, |digest| json!({ "do": "fetch", "url": url, "sha256": digest, "mutable": true }));
}

#[test]
fn a_digest_is_no_right_to_a_blob_by_oci_name() {
    let Some(arena) = Arena::enter() else { return };
    let world = World::start();
    let name = |digest: &str| format!("{}/mine/x@sha256:{digest}", world.registry.host());
    world.loot(&arena, |digest| json!({ "do": "fetch", "blob": name(digest) }));
    world.loot(&arena, |digest| json!({ "do": "fetch", "blob": name(digest), "sha256": digest }));
}

#[test]
fn a_digest_is_no_right_to_a_manifest_by_oci_name() {
    let Some(arena) = Arena::enter() else { return };
    let world = World::start();
    let name = |digest: &str| format!("{}/mine/x@sha256:{digest}", world.registry.host());
    world.loot(&arena, |digest| json!({ "do": "fetch", "manifest": name(digest) }));
    let tag = format!("{}/mine/x:1", world.registry.host());
    world.loot(&arena, |digest| json!({ "do": "fetch", "manifest": tag, "sha256": digest, "mutable": true }));
}

/// Who knows the end of a file does not get its beginning out of what another
/// step has half downloaded.
#[test]
fn a_partial_of_another_step_is_not_completed() {
    let Some(arena) = Arena::enter() else { return };
    let world = World::start();
    let whole = format!("{SECRET}{}", "x".repeat(4 << 20));
    world.files.put("/private/plan", whole.clone());
    world.files.put("/mine/tail", whole.replace(SECRET, &"?".repeat(SECRET.len())));
    world.files.fault(On::get("/private/plan"), Fault::Cut { after: 3 << 20 });
    let acts = json!([{ "do": "fetch", "url": world.files.url("/mine/tail"), "sha256": sha256(whole.as_bytes()) }]);
    let attack = Attack::on(&arena, world.project(), &["manifests"], acts).grants(world.grants(&["/mine/"])).step(
        "files",
        &json!({ "host": "files" }),
        &["manifests"],
    );
    let built = attack.build().keeps(SECRET);
    let again = built.project.run(&["build"]);
    let built = Built { project: built.project, run: again }.keeps(SECRET);
    let ranges = world.files.requests("GET", "/mine/tail");
    assert!(ranges.iter().all(|entry| entry.header("range").is_none()), "{}", world.files.render_log());
    assert!(!built.told().contains("fetched"), "{}", built.told());
}

/// The step `manifests` tells the host what to fetch, with the rights of the
/// host: a plugin without any does not get them by the id of its step.
#[test]
fn no_plugin_tells_the_host_what_to_fetch() {
    let Some(arena) = Arena::enter() else { return };
    let world = World::start();
    let list = json!({
        "architecture": "amd64", "package": { "name": "x", "version": "1" }, "charts": [], "images": [],
        "files": [{ "kind": "tool", "name": "x", "version": "1", "url": world.files.url("/private/plan?stolen=data") }],
        "repositories": [{ "name": "r", "url": "file:///etc/secret", "ref": "main" }],
    });
    let acts = json!([{ "do": "write", "path": "components.resolved.json", "text": list.to_string() }]);
    for host in ["files", "repos", "images"] {
        let built = Attack::on(&arena, world.project(), &["config"], json!([]))
            .step("manifests", &json!({ "plugin": "attacker" }), &["config"])
            .acts(acts.clone())
            .step(host, &json!({ "host": host }), &["manifests"])
            .spied_by(&[host])
            .build()
            .keeps(SECRET);
        built.run.code(3).says(&["manifests", "attacker", "--replace-core"]);
    }
    // The core plugin `charts` fetches by that list as well.
    let built = Attack::on(&arena, world.project(), &["config"], json!([]))
        .step("manifests", &json!({ "plugin": "attacker" }), &["config"])
        .acts(acts)
        .step("charts", &json!({ "plugin": "charts" }), &["manifests"])
        .build()
        .keeps(SECRET);
    built.run.code(3).says(&["manifests", "attacker", "--replace-core"]);
    assert!(world.files.log().is_empty(), "{}", world.files.render_log());
}

/// What has the digest of a blob is not the manifest of any registry.
#[test]
fn no_chart_is_claimed_of_an_address_that_was_not_asked() {
    let Some(arena) = Arena::enter() else { return };
    let world = World::start();
    let archive = sha256(EVIL.as_bytes());
    let manifest = json!({ "layers": [{ "digest": format!("sha256:{archive}") }] }).to_string();
    world.files.put_plain("/mine/m.json", manifest.clone());
    for url in [
        format!("oci://registry.victim.example/charts/app@sha256:{}", sha256(manifest.as_bytes())),
        format!("oci://{}/charts/app@sha256:{}", world.registry.host(), sha256(manifest.as_bytes())),
        world.files.url("/private/plan"),
    ] {
        let row = json!([{
            "name": "app", "version": "6.6.6", "requested": "^1", "repo": "oci://registry.victim.example/charts", "url": url,
            "namespace": "a", "path": "charts/app.tgz", "sha256": archive, "values": [], "images": [],
        }]);
        let built = Attack::on(&arena, world.project(), &["manifests"], json!([]))
            .replacing("charts", &world.grants(&["/mine/"]))
            .step("charts", &json!({ "plugin": "charts" }), &["manifests"])
            .acts(json!([
                { "do": "fetch", "url": world.files.url("/mine/m.json") },
                { "do": "write", "path": "charts/app.tgz", "text": EVIL },
                { "do": "write", "path": "charts.json", "text": row.to_string() },
            ]))
            .build();
        let lock = built.project.path("config/airgap.lock");
        let lock = std::fs::read_to_string(lock).unwrap_or_default();
        assert!(!lock.contains("6.6.6") && !lock.contains(&archive), "{url}: {}\n{lock}", built.run);
        built.run.clone().code(1).says(&["charts", "never gave this"]);
    }
}

/// A plugin says that a tool has the digest of its own bytes, before the tool
/// is fetched.
#[test]
fn no_digest_is_planted_for_another_steps_download() {
    let Some(arena) = Arena::enter() else { return };
    let world = World::start();
    let attack = planting(&arena, &world).step("files", &json!({ "host": "files" }), &["manifests", "attack"]).build();
    the_real_tool_is_packaged(&attack);
}

/// The same when the tool is in the lock already, and the build asked to trust
/// the lock alone.
#[test]
fn no_digest_is_planted_afterwards() {
    let Some(arena) = Arena::enter() else { return };
    let world = World::start();
    let attack = planting(&arena, &world).step("files", &json!({ "host": "files" }), &["manifests"]);
    let built = attack.step("attack", &json!({ "plugin": "attacker" }), &["files"]).acts(plants(&world)).build();
    the_real_tool_is_packaged(&built);
    built.project.run(&["build", "--clean"]).code(built.run.status.code().unwrap());
    the_real_tool_is_packaged(&built);
}

/// And a registry's: a manifest under a tag that an image names.
#[test]
fn no_manifest_is_planted_for_an_image() {
    let Some(arena) = Arena::enter() else { return };
    let world = World::start();
    let reference = world.registry.reference("secret/app:1");
    let acts = json!([{ "do": "try", "acts": [
        { "do": "fetch", "url": world.files.url("/mine/evil") },
        { "do": "fetch", "manifest": reference, "sha256": sha256(EVIL.as_bytes()) },
        { "do": "fetch", "manifest": reference, "sha256": sha256(EVIL.as_bytes()), "mutable": true },
    ]}]);
    let built = Attack::on(&arena, world.project(), &["manifests"], acts)
        .grants(json!({ "fetch": [world.files.url("/mine/"), format!("{}/secret/", world.registry.host())] }))
        .step("images", &json!({ "host": "images" }), &["manifests", "attack"])
        .build()
        .done();
    let lock = built.project.read("config/airgap.lock");
    assert!(lock.contains(Image::small(1, 5_000).digest()), "{lock}");
    assert_eq!(lock.matches(&sha256(EVIL.as_bytes())).count(), usize::from(lock.contains("/mine/evil")), "{lock}");
}

fn plants(world: &World) -> Value {
    json!([{ "do": "try", "acts": [
        { "do": "fetch", "url": world.files.url("/mine/evil") },
        { "do": "fetch", "url": world.files.url("/tools/yq"), "sha256": sha256(EVIL.as_bytes()) },
        { "do": "fetch", "url": world.files.url("/tools/yq"), "sha256": sha256(EVIL.as_bytes()), "mutable": true },
    ]}])
}

fn planting(arena: &Arena, world: &World) -> Attack {
    Attack::on(arena, world.project(), &["manifests"], plants(world)).grants(world.grants(&["/mine/", "/tools/"]))
}

#[track_caller]
fn the_real_tool_is_packaged(built: &Built) {
    let tool = built.project.read("build/steps/files/bin/yq");
    assert_eq!(tool, TOOL, "{}", built.run);
    let lock = built.project.read("config/airgap.lock");
    let planted = sha256(EVIL.as_bytes());
    // Whatever the format: the address above the digest is its own.
    let mut address = "";
    for line in lock.lines() {
        if line.contains("://") {
            address = line;
        }
        assert!(!line.contains(&planted) || !address.contains("/tools/yq"), "{lock}");
    }
}

/// What an older version let in is not believed.
#[test]
fn a_planted_entry_of_an_old_lock_is_not_believed() {
    let Some(arena) = Arena::enter() else { return };
    let world = World::start();
    let attack =
        Attack::on(&arena, world.project(), &["manifests"], json!([{ "do": "write", "path": "x", "text": "x" }])).step(
            "files",
            &json!({ "host": "files" }),
            &["manifests"],
        );
    let ready = attack.ready();
    ready.project.write(
        "config/airgap.lock",
        format!(
            "format: 1\nresolved_at: \"2026-01-31T12:00:00Z\"\nfiles:\n  {}:\n    sha256: sha256:{}\n    size: {}\n  \
             {}:\n    sha256: sha256:{}\n    size: {}\n",
            world.files.url("/private/plan"),
            sha256(SECRET.as_bytes()),
            SECRET.len(),
            world.files.url("/tools/yq"),
            sha256(EVIL.as_bytes()),
            EVIL.len()
        ),
    );
    ready.project.run(&["build", "--locked"]).code(3).says(&["/tools/yq"]);
    let built = ready.build(&[]).done();
    built.run.clone().says(&["/tools/yq"]);
    the_real_tool_is_packaged(&built);
}

/// Its entries go with it.
#[test]
fn a_plugin_that_is_gone_leaves_nothing_in_the_lock() {
    let Some(arena) = Arena::enter() else { return };
    let world = World::start();
    let acts = json!([{ "do": "fetch", "url": world.files.url("/mine/evil") }]);
    let built = Attack::on(&arena, world.project(), &["manifests"], acts)
        .grants(world.grants(&["/mine/"]))
        .step("files", &json!({ "host": "files" }), &["manifests"])
        .build()
        .done();
    assert!(built.project.read("config/airgap.lock").contains("/mine/evil"));
    built.project.remove("config/plugins.lock");
    built.project.remove("config/pipeline.yaml");
    built.project.run(&["gc"]).success();
    let lock = built.project.read("config/airgap.lock");
    assert!(!lock.contains("/mine/evil") && lock.contains("/tools/yq"), "{lock}");
}

/// What one step marked, and what another wrote, is not the next plugin's.
#[test]
fn only_the_trees_of_needed_steps_are_handed_over() {
    let Some(arena) = Arena::enter() else { return };
    let acts = json!([{ "do": "write", "path": "secret", "text": SECRET }]);
    let built = Attack::new(&arena, acts).spied_by(&["config"]).build().done();
    assert!(!built.said_by("spy").contains(SECRET), "{}", built.said_by("spy"));
    let acts = json!([{ "do": "try", "acts": [
        { "do": "read", "tree": "config", "path": "settings.yaml" },
        { "do": "read", "tree": "config", "path": "plugins.lock" },
        { "do": "read", "tree": "config", "path": "../.env" },
        { "do": "read", "tree": "config", "path": "private/token" },
        { "do": "link", "tree": "config", "from": "../.env", "to": "stolen" },
        { "do": "link", "tree": "config", "from": "private/token", "to": "stolen" },
    ]}]);
    Attack::on(&arena, secretive(), &["manifests"], acts).build().done().keeps(SECRET).all_refused(6);
}

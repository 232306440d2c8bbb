//! Without end: time, memory, bytes, files, depth, handles, words. Each limit
//! is named where it is met, the host goes on, and `clean` removes what is
//! left.

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use airgap_tests::file_server::FileServer;
use airgap_tests::http::{Request, Response, Server};
use airgap_tests::project::{Project, Running};
use serde_json::{Value, json};

use crate::arena::Arena;
use crate::attack::Attack;

/// What an attack may take in all, with the slowest machine in mind.
const LONG: Duration = Duration::from_secs(45);

fn directories(arena: &Arena, acts: Value) -> Attack {
    Attack::new(arena, acts).grants(json!({ "directories": true }))
}

/// MiB that lie in the project's build/, and its files.
fn left(project: &Project) -> (u64, usize) {
    let listed = Command::new("du").args(["-s", "--block-size=1M"]).arg(project.path("build")).output().unwrap();
    let mib = String::from_utf8_lossy(&listed.stdout).split_whitespace().next().and_then(|size| size.parse().ok());
    let files = Command::new("find").arg(project.path("build")).args(["-type", "f"]).output().unwrap();
    (mib.unwrap_or(0), files.stdout.iter().filter(|byte| **byte == b'\n').count())
}

#[test]
fn folders_without_end_are_refused_and_removed() {
    let Some(arena) = Arena::enter() else { return };
    for folder in ["/work/x", "/out/x"] {
        let attack = directories(&arena, json!([{ "do": "nest", "path": folder, "depth": 30_000 }]));
        let ready = attack.limit("time_limit", 120).ready();
        let run = limited(&ready.project, &["build"], "ulimit -n 256");
        assert!(matches!(run.status.code(), Some(0 | 1)), "{run}");
        let again = limited(&ready.project, &["build"], "ulimit -n 256 && ulimit -s 1024");
        assert_eq!(again.status.code(), run.status.code(), "{again}");
        limited(&ready.project, &["clean"], "ulimit -n 256 && ulimit -s 1024").success();
        assert!(!ready.project.exists("build/steps") && !ready.project.exists("build/staging/attack"));
    }
}

/// Also what a version without that limit has left.
#[test]
fn clean_removes_whatever_a_guest_has_left() {
    let Some(arena) = Arena::enter() else { return };
    let ready = Attack::new(&arena, json!([])).ready();
    ready.project.run(&["build"]).success();
    let deep = ready.project.path("build/staging/attack/directories/work");
    std::fs::create_dir_all(&deep).unwrap();
    let script = "import os\nfor _ in range(3000):\n    os.mkdir('x')\n    os.chdir('x')\n";
    let made = Command::new("python3").args(["-c", script]).current_dir(&deep).status();
    if !made.is_ok_and(|status| status.success()) {
        for _ in 0..1_000 {
            std::fs::rename(&deep, deep.with_file_name("below")).unwrap();
            std::fs::create_dir(&deep).unwrap();
            std::fs::rename(deep.with_file_name("below"), deep.join("x")).unwrap();
        }
    }
    limited(&ready.project, &["build"], "ulimit -n 64 && ulimit -s 1024").success();
    limited(&ready.project, &["clean"], "ulimit -n 64 && ulimit -s 1024").success();
    assert!(!ready.project.exists("build/staging/attack"));
}

/// The binary under limits of the shell.
fn limited(project: &Project, arguments: &[&str], limits: &str) -> airgap_tests::project::Run {
    let inner = project.command(arguments);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{limits} && exec \"$0\" \"$@\"")]).arg(inner.get_program()).args(inner.get_args());
    command.env_clear().current_dir(project.root());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    Running::spawn(&mut command, project.root()).finish_within(LONG * 2)
}

#[test]
fn the_disk_is_not_filled_through_directories() {
    let Some(arena) = Arena::enter() else { return };
    for (acts, setting) in [
        (json!([{ "do": "file", "path": "/out/a", "mib": 200 }]), "plugins.output_mib"),
        (json!([{ "do": "file", "path": "/work/a", "mib": 200 }]), "plugins.scratch_mib"),
        (json!([{ "do": "unlinked", "path": "/work/a", "mib": 200 }]), "plugins.scratch_mib"),
        (json!([{ "do": "lengthen", "path": "/work/a", "mib": 200 }]), "plugins.scratch_mib"),
        (json!([{ "do": "lengthen", "path": "/out/a", "mib": 200 }]), "plugins.output_mib"),
        (
            json!([{ "do": "repeat", "times": 60, "acts": [{ "do": "file", "path": "/work/{n}", "mib": 4 }] }]),
            "plugins.scratch_mib",
        ),
        (
            json!([{ "do": "repeat", "times": 60, "acts": [
                { "do": "file", "path": "/work/a", "mib": 4 },
                { "do": "rename", "from": "/work/a", "to": "/out/{n}" },
            ]}]),
            "plugins.output_mib",
        ),
    ] {
        let attack = directories(&arena, acts).limit("scratch_mib", 16);
        let built = attack.build().refused(&["attack", setting]);
        assert!(left(&built.project).0 < 40, "{}", built.run);
    }
}

#[test]
fn no_more_files_are_made_than_allowed() {
    let Some(arena) = Arena::enter() else { return };
    let file = |folder: &str| json!([{ "do": "repeat", "times": 2_000, "acts": [{ "do": "file", "path": format!("{folder}/{{n}}") }] }]);
    let folder = json!([{ "do": "repeat", "times": 2_000, "acts": [{ "do": "directory", "path": "/work/{n}" }] }]);
    let link = json!([{ "do": "repeat", "times": 2_000, "acts": [{ "do": "soft-link", "target": "x", "path": "/work/{n}" }] }]);
    let output = json!([{ "do": "repeat", "times": 2_000, "acts": [{ "do": "write", "path": "{n}", "text": "x" }] }]);
    for (acts, setting) in [
        (file("/out"), "plugins.output_files"),
        (file("/work"), "plugins.scratch_files"),
        (folder, "plugins.scratch_files"),
        (link, "plugins.scratch_files"),
        (output, "plugins.output_files"),
    ] {
        let attack = directories(&arena, acts).limit("scratch_files", 200);
        let built = attack.build().refused(&["attack", setting]);
        assert!(left(&built.project).1 < 400, "{}", built.run);
    }
}

/// Rewriting one file is no flood, and was never refused.
#[test]
fn a_file_that_is_written_again_and_again_is_no_flood() {
    let Some(arena) = Arena::enter() else { return };
    let acts = json!([{ "do": "repeat", "times": 10, "acts": [{ "do": "file", "path": "/work/a", "mib": 4 }] }]);
    directories(&arena, acts).limit("scratch_mib", 16).build().done();
}

#[test]
fn no_more_bytes_are_written_than_allowed() {
    let Some(arena) = Arena::enter() else { return };
    for acts in [
        json!([{ "do": "stream", "path": "a", "mib": 64 }]),
        json!([{ "do": "repeat", "times": 64, "acts": [{ "do": "write", "path": "{n}", "text": "0123456789abcdef", "times": 65_536 }] }]),
    ] {
        let built = Attack::new(&arena, acts).build().refused(&["attack", "plugins.output_mib"]);
        assert!(left(&built.project).0 < 40, "{}", built.run);
    }
}

/// Once for free, as the core package step needs it; not a thousand times.
#[test]
fn no_input_is_multiplied_by_packing_it_again() {
    let Some(arena) = Arena::enter() else { return };
    Attack::new(&arena, json!([]))
        .step("made", &json!({ "plugin": "attacker" }), &["config"])
        .acts(json!([{ "do": "stream", "path": "a", "mib": 4 }]))
        .step("attack", &json!({ "plugin": "attacker" }), &["made"])
        .acts(json!([{ "do": "pack-again", "tree": "made", "from": "a", "path": "p.tar", "times": 100 }]))
        .build()
        .refused(&["attack", "plugins.output_mib"]);
}

/// What a refused download, a handle that is dropped, or another unpacking
/// gives back must not be on the disk any more.
#[test]
fn nothing_is_taken_off_the_account_that_is_there() {
    let Some(arena) = Arena::enter() else { return };
    let big = json!({ "do": "write", "path": "f{n}", "text": "0123456789abcdef", "times": 65_536 });
    let refused =
        json!({ "do": "try", "acts": [{ "do": "fetch", "url": "https://nobody.example/x", "path": "f{n}" }] });
    let unpack = |act: &str, times: u64| {
        json!([{ "do": "repeat", "times": times, "acts": [
            { "do": act, "tree": "made", "path": "p.tar", "from": "copy-0", "to": "f{n}" },
        ]}])
    };
    let packed = json!([
        { "do": "pack-unpacked", "tree": "made", "path": "p.tar", "from": "copy-0", "to": "q.tar", "times": 60 },
    ]);
    for (acts, setting) in [
        (json!([{ "do": "repeat", "times": 60, "acts": [big, refused] }]), "plugins.output_mib"),
        (unpack("link-unpacked", 60), "plugins.output_mib"),
        (packed, "plugins.output_mib"),
    ] {
        let built = Attack::new(&arena, json!([]))
            .limit("scratch_mib", 64)
            .step("source", &json!({ "plugin": "attacker" }), &["config"])
            .acts(json!([{ "do": "stream", "path": "a", "mib": 4 }]))
            .step("made", &json!({ "plugin": "attacker" }), &["source"])
            .acts(json!([{ "do": "pack-again", "tree": "source", "from": "a", "path": "p.tar", "times": 1 }]))
            .step("attack", &json!({ "plugin": "attacker" }), &["made"])
            .acts(acts)
            .build()
            .refused(&["attack", setting]);
        assert!(left(&built.project).0 < 40, "{}", built.run);
    }
}

#[test]
fn computing_without_end_is_stopped() {
    let Some(arena) = Arena::enter() else { return };
    let built = Attack::new(&arena, json!([{ "do": "spin" }])).limit("time_limit", 1).build();
    let built = built.refused(&["attack", "plugins.time_limit"]);
    assert!(built.run.time < LONG, "{}", built.run);
}

/// The guest computes nothing: it lets the host work.
#[test]
fn letting_the_host_work_without_end_is_stopped() {
    let Some(arena) = Arena::enter() else { return };
    let unpack = json!({ "do": "unpack", "tree": "made", "path": "many.tar", "entries": 3_000 });
    for act in [
        json!([unpack]),
        json!([{ "do": "write", "path": "m", "text": "x" }, { "do": "mark", "key": "{n}", "path": "m" }]),
        json!([{ "do": "link", "tree": "made", "from": "many.tar", "to": "again" }]),
        json!([{ "do": "entries", "tree": "made" }]),
        json!([{ "do": "file", "path": "/work/a", "text": "x" }]),
        json!([{ "do": "directory", "path": "/work/a" }, { "do": "rename", "from": "/work/a", "to": "/work/b" }]),
        json!([{ "do": "lengthen", "path": "/work/a", "mib": 4 }]),
    ] {
        let acts = json!([{ "do": "repeat", "times": 10_000_000, "acts": act }]);
        let started = std::time::Instant::now();
        let ready = Attack::new(&arena, json!([]))
            .grants(json!({ "directories": true }))
            .limit("time_limit", 3)
            .limit("host_limit", 3)
            .limit("step_limit", 20)
            .step("made", &json!({ "plugin": "attacker" }), &["config"])
            .acts(json!([{ "do": "pack-many", "path": "many.tar", "count": 2_000 }]))
            .step("attack", &json!({ "plugin": "attacker" }), &["made"])
            .acts(acts)
            .last("on_failure", json!("preserve"))
            .ready();
        let run = ready.project.start(&["build"]).finish_within(LONG);
        let run = run.code(1).says(&["attack"]);
        let named = ["plugins.time_limit", "plugins.host_limit", "plugins.step_limit"];
        assert!(named.iter().any(|limit| run.stderr.contains(limit)), "{run}");
        assert!(started.elapsed() < LONG);
    }
}

/// Waiting is neither computing nor host work.
#[test]
fn waiting_without_end_is_stopped() {
    let Some(arena) = Arena::enter() else { return };
    let server = airgap_tests::file_server::FileServer::start();
    server.put("/charts/a", "x");
    server.fault(airgap_tests::fault::On::any(), airgap_tests::fault::Fault::Delay(Duration::from_secs(2)));
    let project = Project::new().with_file_server(&server.host());
    let acts = json!([{ "do": "repeat", "times": 1_000, "acts": [
        { "do": "fetch", "url": server.url("/charts/a"), "mutable": true },
    ]}]);
    let built = Attack::on(&arena, project, &["manifests"], acts)
        .grants(json!({ "fetch": [server.url("/charts/")] }))
        .limit("step_limit", 5)
        .build()
        .refused(&["attack", "plugins.step_limit"]);
    assert!(built.run.time < LONG, "{}", built.run);
}

/// Each answer is small: it is their number that is not.
#[test]
fn no_more_is_fetched_than_allowed() {
    let Some(arena) = Arena::enter() else { return };
    let server = FileServer::start();
    let file = server.put("/charts/a", vec![b'x'; 1 << 20]);
    let away = server.redirect("/charts/b", &file);
    let mutable = |url: &str| json!({ "do": "fetch", "url": url, "mutable": true });
    // Refused requests are handled by the guest, which asks on.
    let times =
        |times: u64, act: &Value| json!([{ "do": "repeat", "times": times, "acts": [{ "do": "try", "acts": [act] }] }]);
    let attack = |limit: &str, most: u64, acts: Value| {
        server.forget();
        Attack::on(&arena, Project::new().with_file_server(&server.host()), &["manifests"], acts)
            .grants(json!({ "fetch": [server.url("/charts/")] }))
            .limit(limit, most)
            .build()
    };
    attack("fetched_mib", 4, times(4, &mutable(&file))).done();
    let sent = server.bytes_sent();
    attack("fetched_mib", 4, times(100, &mutable(&file))).refused(&["attack", "4 MiB", "plugins.fetched_mib"]);
    assert!(server.bytes_sent() - sent < 8 << 20, "{}", server.render_log());
    for (act, most, asked) in [(mutable(&file), 4, 4), (mutable(&away), 8, 4)] {
        attack("requests", most, times(asked, &act)).done();
        attack("requests", most, times(100, &act)).refused(&["attack", "requests", "plugins.requests"]);
        assert_eq!(server.log().len() as u64, most, "{}", server.render_log());
    }
}

/// Lists of tags come in pages.
#[test]
fn no_list_has_more_pages_than_requests_are_allowed() {
    let Some(arena) = Arena::enter() else { return };
    let pages = AtomicU64::new(0);
    let server = Server::start(move |_: &Request| {
        let page = pages.fetch_add(1, Ordering::Relaxed);
        let next = format!("</v2/team/app/tags/list?n=1&last=x{page}>; rel=\"next\"");
        Response::json(200, &json!({ "name": "team/app", "tags": [format!("x{page}")] })).with("link", next)
    });
    let tags = json!({ "do": "tags", "repository": format!("{}/team/app", server.host()) });
    let project = Project::new().with_registry(&server.host());
    Attack::on(&arena, project, &["manifests"], json!([{ "do": "try", "acts": [tags, tags] }]))
        .grants(json!({ "fetch": [format!("{}/team/", server.host())] }))
        .limit("requests", 20)
        .build()
        .refused(&["attack", "20 requests", "plugins.requests"]);
    assert_eq!(server.log().len(), 20, "{}", server.render_log());
}

#[test]
fn an_archive_of_too_many_entries_is_refused_before_the_work() {
    let Some(arena) = Arena::enter() else { return };
    let built = Attack::new(&arena, json!([]))
        .limit("scratch_files", 200)
        .step("made", &json!({ "plugin": "attacker" }), &["config"])
        .acts(json!([{ "do": "pack-many", "path": "many.tar", "count": 2_000 }]))
        .step("attack", &json!({ "plugin": "attacker" }), &["made"])
        .acts(json!([{ "do": "unpack", "tree": "made", "path": "many.tar", "entries": 1_000_000 }]))
        .build()
        .refused(&["attack", "plugins.scratch_files"]);
    assert!(left(&built.project).1 < 400, "{}", built.run);
}

#[test]
fn memory_without_end_is_stopped() {
    let Some(arena) = Arena::enter() else { return };
    let acts = json!([{ "do": "allocate", "mib": 40 }, { "do": "allocate", "mib": 40 }]);
    Attack::new(&arena, acts).build().refused(&["attack", "plugins.memory_mib"]);
}

#[test]
fn recursion_without_end_is_a_crash_of_the_guest_alone() {
    let Some(arena) = Arena::enter() else { return };
    Attack::new(&arena, json!([{ "do": "recurse" }])).build().refused(&["attack", "crashed"]);
}

/// Three steps at once: together they hold more than a process may.
#[test]
fn the_hosts_descriptors_are_not_used_up() {
    let Some(arena) = Arena::enter() else { return };
    let holds = json!([{ "do": "try", "acts": [
        { "do": "hold-inputs", "tree": "made", "path": "a", "count": 950 },
        { "do": "hold-outputs", "count": 950 },
        { "do": "hold-files", "path": "/in/made/a", "count": 950 },
    ]}, { "do": "write", "path": "x", "text": "x" }]);
    let mut attack = directories(&arena, json!([]))
        .limit("output_files", 2_000)
        .step("made", &json!({ "plugin": "attacker" }), &["config"])
        .acts(json!([{ "do": "write", "path": "a", "text": "x" }]));
    for step in ["attack", "second", "third"] {
        attack = attack.step(step, &json!({ "plugin": "attacker" }), &["made"]).acts(holds.clone());
    }
    let ready = attack.ready();
    let run = limited(&ready.project, &["build"], "ulimit -n 1024");
    assert!(matches!(run.status.code(), Some(0 | 1)), "{run}");
    let run = run.never_says("Too many open files").never_says("os error 24");
    for step in ["attack", "second", "third"] {
        let told = ready.project.path(&format!("build/steps/{step}/told.txt"));
        let told = std::fs::read_to_string(told).unwrap_or_default();
        assert!(!told.contains("os error 24") && !told.contains("o file descriptors"), "{step}: {told}\n{run}");
    }
}

/// What the host keeps for a guest beside its descriptors, and what it copies
/// out of the guest at once: limits that only an attack or a fault meets.
#[test]
fn neither_handles_nor_the_bytes_of_a_call_are_without_end() {
    let Some(arena) = Arena::enter() else { return };
    let attack = |acts: Value| {
        let attack = directories(&arena, json!([])).limit("open_files", 100_000).limit("output_mib", 200);
        attack
            .limit("memory_mib", 512)
            .step("made", &json!({ "plugin": "attacker" }), &["config"])
            .acts(json!([{ "do": "write", "path": "a", "text": "x" }]))
            .step("attack", &json!({ "plugin": "attacker" }), &["made"])
            .acts(acts)
            .build()
    };
    let holds = |count: u64| json!([{ "do": "hold-inputs", "tree": "made", "path": "a", "count": count }]);
    let writes = |mib: u64| json!([{ "do": "write", "path": "x", "text": "0123456789abcdef", "times": mib << 16 }]);
    attack(holds(900)).done();
    attack(holds(1_100)).refused(&["attack", "held more than 1000 handles"]);
    attack(writes(60)).done();
    attack(writes(65)).refused(&["attack", "passed more than 64 MiB to the host in one call"]);
}

#[test]
fn floods_of_words_are_cut() {
    let Some(arena) = Arena::enter() else { return };
    let console =
        json!([{ "do": "repeat", "times": 100_000, "acts": [{ "do": "console", "text": "x".repeat(4_096) }] }]);
    Attack::new(&arena, console).build().refused(&["attack", "plugins.console_kib"]);
    for word in ["log", "progress"] {
        let acts = json!([{ "do": "repeat", "times": 30_000, "acts": [{ "do": word, "text": "x".repeat(1_000) }] }]);
        let built = Attack::new(&arena, acts).build();
        assert!(matches!(built.run.status.code(), Some(0 | 1)), "{}", built.run);
        // Of 30 MB the 10,000 lines that the contract keeps, and their end again.
        let shown = built.run.stderr.len() + built.run.stdout.len();
        assert!(shown < 14 << 20, "{word}: {shown} bytes reached the terminal");
        assert!(left(&built.project).0 < 40, "{word}: a flood reached the disk");
    }
}

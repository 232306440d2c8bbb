//! What the guest finds where it runs: no socket, no clock, no environment, no
//! way to end the host; and words that do not reach the terminal as they are.

use serde_json::{Value, json};

use airgap_tests::http::{Request, Response, Server};
use airgap_tests::project::Project;

use crate::arena::{Arena, METADATA};
use crate::attack::{Attack, SECRET};

fn attempts(acts: &[Value]) -> Value {
    json!([{ "do": "try", "acts": acts }, { "do": "write", "path": "x", "text": "x" }])
}

#[test]
fn there_are_no_sockets() {
    let Some(arena) = Arena::enter() else { return };
    let server = Server::start_on("[::]:8099", |_: &Request| Response::new(200, SECRET));
    let name = arena.name_of(METADATA);
    let acts = [
        json!({ "do": "connect", "address": "127.0.0.1:8099" }),
        json!({ "do": "connect", "address": "[::1]:8099" }),
        json!({ "do": "connect", "address": format!("{name}:8099") }),
        json!({ "do": "resolve", "name": format!("{name}:8099") }),
        json!({ "do": "resolve", "name": "localhost:8099" }),
    ];
    // A grant of addresses is none of sockets.
    Attack::new(&arena, attempts(&acts))
        .grants(json!({ "fetch": ["http://127.0.0.1:8099/"], "directories": true }))
        .build()
        .done()
        .all_refused(5);
    assert!(server.log().is_empty(), "{}", server.render_log());
}

#[test]
fn there_is_no_environment_and_no_clock() {
    let Some(arena) = Arena::enter() else { return };
    let project = Project::new().with_env("TOKEN", SECRET);
    let acts = json!([{ "do": "surroundings" }, { "do": "sleep", "seconds": 3_000 }, { "do": "surroundings" }]);
    let built = Attack::on(&arena, project, &["manifests"], acts).build().done().keeps(SECRET);
    let told = built.told();
    assert_eq!(told.matches("arguments: \n").count(), 2, "{told}");
    assert_eq!(told.matches("variables: \n").count(), 2, "{told}");
    assert_eq!(told.matches("clock: stands still").count(), 2, "{told}");
    assert_eq!(told.matches("folder: none").count(), 2, "{told}");
}

#[test]
fn an_exit_or_a_trap_ends_the_guest_alone() {
    let Some(arena) = Arena::enter() else { return };
    Attack::new(&arena, json!([{ "do": "exit" }])).build().refused(&["attack", "exited"]);
    Attack::new(&arena, json!([{ "do": "trap" }])).build().refused(&["attack", "panicked", "gives up"]);
}

/// Escapes, overrides, a false end of a line, what nobody sees.
const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;title\u{7}\rgood\u{8}\u{7f}\u{9b}31m\u{202e}txt.exe\u{2066}\u{2028}\u{200b}\u{2060}\u{feff}\u{ad}\u{e0041}\u{61c}\u{fff9}end";

#[test]
fn no_escape_reaches_the_terminal_out_of_a_message() {
    let Some(arena) = Arena::enter() else { return };
    for act in [
        json!([{ "do": "log", "text": HOSTILE }]),
        json!([{ "do": "progress", "text": HOSTILE }]),
        json!([{ "do": "fail", "code": HOSTILE, "message": HOSTILE, "hint": HOSTILE }]),
        json!([{ "do": "console", "text": HOSTILE }, { "do": "trap" }]),
        json!([{ "do": "read", "tree": HOSTILE, "path": HOSTILE }]),
        json!([{ "do": "write", "path": HOSTILE, "text": "x" }]),
        json!([{ "do": "fetch", "url": format!("http://127.0.0.1/{HOSTILE}") }]),
        json!([{ "do": "mark", "key": HOSTILE, "path": HOSTILE }]),
    ] {
        let ready = Attack::new(&arena, act.clone()).ready();
        for arguments in [&["build"][..], &["build", "--json"], &["status"], &["status", "--json"]] {
            let run = ready.project.run(arguments);
            shows_nothing_hostile(&format!("{act} {arguments:?}"), &run.stdout);
            shows_nothing_hostile(&format!("{act} {arguments:?}"), &run.stderr);
        }
    }
}

/// What the configuration holds is printed back too: the guest's acts stand in
/// it as JSON, and what is shown of it is as clean.
#[track_caller]
pub(crate) fn shows_nothing_hostile(what: &str, text: &str) {
    let shown = text.chars().find(|c| {
        matches!(c, '\u{0}'..='\u{9}' | '\u{b}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
            || matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    });
    assert!(shown.is_none(), "{what} shows U+{:04X}:\n{}", u32::from(shown.unwrap()), text.escape_debug());
}

/// It differs between two disks with the same files, and a package would come
/// to depend on it.
#[test]
fn no_directory_tells_in_which_order_it_was_filled() {
    let Some(arena) = Arena::enter() else { return };
    let mut acts = vec![json!({ "do": "directory", "path": "/work/d" })];
    let names = ["m", "z", "a", "k", "b", "y"];
    acts.extend(names.map(|name| json!({ "do": "file", "path": format!("/work/d/{name}"), "text": "x" })));
    acts.extend([json!({ "do": "list", "path": "/work/d" }), json!({ "do": "write", "path": "x", "text": "x" })]);
    let built = Attack::new(&arena, acts.into()).grants(json!({ "directories": true })).build().done();
    assert!(built.told().contains("/work/d: a b k m y z"), "{}", built.told());
}

/// The times of files are a clock as well, and the number of a file's names
/// says whether the store has it.
#[test]
fn no_file_tells_the_time() {
    let Some(arena) = Arena::enter() else { return };
    let look = |path: &str| json!({ "do": "look", "path": path });
    let acts = json!([
        { "do": "file", "path": "/work/a", "text": "x" }, look("/work/a"), look("/work"), look("/out"),
        { "do": "directory", "path": "/work/d" }, look("/work/d"), { "do": "write", "path": "x", "text": "x" },
    ]);
    let built = Attack::new(&arena, acts).grants(json!({ "directories": true })).build().done();
    let told = built.told();
    assert_eq!(told.matches("written: at the build's time").count(), 4, "{told}");
    assert!(!told.contains("another time"), "{told}");
}

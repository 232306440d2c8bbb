//! Guards that what only the diary of a killed build knows counts like what
//! airgap.lock holds: `gc` keeps it, and a plan does not ask for it.

use std::time::{Duration, Instant};

use airgap_tests::fault::{Fault, On};
use airgap_tests::file_server::FileServer;
use airgap_tests::project::Project;

/// A build that was killed once the first of two tools was there, of which no
/// checksum is known.
fn killed(files: &FileServer) -> Project {
    let first = files.put("/first", vec![1; 300_000]);
    let second = files.put("/second", vec![2; 400_000]);
    let project = Project::new().with_file_server(&files.host());
    let project = project.with_tool("first", &first, None).with_tool("second", &second, None);
    files.fault(On::get("/second"), Fault::hang(200_000));
    let running = project.start(&["build"]);
    let deadline = Instant::now() + Duration::from_secs(60);
    let is_known =
        || std::fs::read_to_string(project.path("build/resolved.jsonl")).is_ok_and(|text| text.contains("/first"));
    while !is_known() {
        assert!(Instant::now() < deadline, "{}", files.render_log());
        std::thread::sleep(Duration::from_millis(5));
    }
    running.kill();
    files.heal();
    files.forget();
    project
}

#[test]
fn nothing_of_a_killed_build_is_garbage_even_without_its_state() {
    let files = FileServer::start();
    let project = killed(&files);
    // Older than whatever build is recorded from here on.
    let blobs = std::fs::read_dir(project.path("build/store/blobs/sha256")).unwrap();
    for blob in blobs.map(|entry| std::fs::File::open(entry.unwrap().path()).unwrap()) {
        blob.set_modified(std::time::SystemTime::now() - Duration::from_secs(3600)).unwrap();
    }
    project.remove("build/state.json");
    project.run(&["gc", "--dry-run"]).success().prints(&["nothing to remove", "not finished"]);

    files.fault(On::any(), Fault::status(404));
    project.run(&["build"]).code(1);
    files.heal();
    files.forget();
    project.run(&["gc"]).success().prints(&["nothing to remove", "not finished"]);
    project.build();
    assert!(files.requests("GET", "/first").is_empty(), "{}", files.render_log());
}

#[test]
fn a_plan_counts_the_requests_that_the_next_build_makes() {
    let files = FileServer::start();
    let project = killed(&files);
    let plan = project.run(&["build", "--plan", "--json"]).success().json();
    let to_fetch: Vec<_> = plan["to_fetch"].as_array().unwrap().iter().map(|need| need["item"].clone()).collect();
    assert!(to_fetch.len() == 1 && to_fetch[0].as_str().unwrap().ends_with("/second"), "{to_fetch:?}");
    assert_eq!(files.render_log(), "");
    project.build();
    assert_eq!(plan["requests"][files.host()]["known"], files.log().len(), "{}", files.render_log());
}

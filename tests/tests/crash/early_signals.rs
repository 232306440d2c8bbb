//! Guards that a signal is heard before the first step runs, while outputs are
//! still being compared with what the state says of them.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::fixture::little;

/// Takes many seconds to hash.
const SIZE: u64 = 60 << 30;

#[test]
fn a_signal_before_the_first_step_ends_with_its_code() {
    let case = little().case();
    case.build();
    // The package is large and full of holes, as the state says.
    let package = std::fs::OpenOptions::new().write(true).open(case.package()).expect("a package");
    package.set_len(SIZE).expect("a sparse file");
    let mut state = case.state();
    let steps = state["steps"].as_array_mut().expect("steps").iter_mut();
    let published = steps.flat_map(|step| {
        step.pointer_mut("/outputs/published").into_iter().filter_map(|list| list.as_array_mut()).flatten()
    });
    for file in published.filter(|file| file["path"].as_str().is_some_and(|path| path.ends_with(".tar.zst"))) {
        file["size"] = json!(SIZE);
    }
    let state = state.to_string();
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        case.write("build/state.json", &state);
        let mut running = case.start(&["build", "--verify-outputs"]);
        let deadline = Instant::now() + Duration::from_secs(60);
        while read_by(running.id()) < 200 << 20 {
            if !running.is_running() || Instant::now() > deadline {
                panic!("it hashes nothing: {}", running.finish());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let sent = Instant::now();
        running.signal(signal);
        running.finish().code(code).says(&["interrupted", "nothing is lost"]);
        assert!(sent.elapsed() < Duration::from_secs(1), "{signal}: {:?}", sent.elapsed());
    }
    assert_eq!(case.read("build/state.json"), state);
}

/// Bytes that a process has read so far.
fn read_by(process: u32) -> u64 {
    let counters = std::fs::read_to_string(format!("/proc/{process}/io")).unwrap_or_default();
    let line = counters.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap_or("0");
    line.parse().expect("a number")
}

//! Replays every input of the corpus: what once failed does not fail again.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use airgap_fuzz::{SUBJECTS, check};

/// What one input may take, on the slowest machine.
const LONG: Duration = Duration::from_secs(5);

#[test]
fn every_input_of_the_corpus_is_taken_or_refused_in_time() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut seen = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let input = std::fs::read(&path).unwrap();
        let started = Instant::now();
        check(&input);
        assert!(started.elapsed() < LONG, "{}: {:?}", path.display(), started.elapsed());
        let name = input.split(|byte| *byte == b'\n').next().unwrap_or_default();
        seen.insert(String::from_utf8_lossy(name).into_owned());
    }
    for (subject, _) in SUBJECTS {
        assert!(seen.contains(*subject), "the corpus has nothing for `{subject}`");
    }
}

/// An oracle that accepts everything would find nothing.
#[test]
fn what_an_accepted_input_must_not_be_is_noticed() {
    for subject in ["path\n../x", "path\n/x", "plugin-name\na/b", "airgap.lock\nformat: 99\n"] {
        check(subject.as_bytes());
    }
    check(b"no such subject\nx");
    check(b"\xff\xfe");
}

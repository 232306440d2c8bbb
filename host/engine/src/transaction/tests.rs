//! What each ending leaves on disk, and what recovery makes of every state
//! that a kill can leave.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::*;
use crate::state::{BuildState, ExclusiveState, Status, StepState};
use base::digest::Digest;
use config::pipeline::{HostStep, Pipeline, Runner, StepSpec};

struct Bench {
    _folder: tempfile::TempDir,
    layout: Layout,
    state: ExclusiveState,
}

fn now() -> Timestamp {
    Timestamp::from_second(0).unwrap()
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path().join("config"), folder.path().join("build"), folder.path().join("dist"));
    let mut state = ExclusiveState::open(&layout, "test", now()).unwrap();
    state.replace(BuildState::new(&Pipeline { steps: vec![spec()] }, now()), now()).unwrap();
    Bench { _folder: folder, layout, state }
}

fn spec() -> StepSpec {
    StepSpec { name: "S".into(), on_failure: OnFailure::Preserve, ..StepSpec::new("s", Runner::Host(HostStep::Files)) }
}

fn done() -> StepState {
    StepState { status: Status::Completed, ..StepState::new(&spec()) }
}

fn read(path: PathBuf) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// Fills an attempt with `a` and publishes it.
fn attempt(bench: &Bench, content: &str) -> (Transaction, Vec<Publication>) {
    let transaction = Transaction::begin(&bench.layout, "s").unwrap();
    transaction.tree().write("a", content.as_bytes(), false).unwrap();
    let publications = vec![
        Publication::artifact("a", bench.layout.dist.join("a.out")),
        Publication::bytes(content.as_bytes().to_vec(), bench.layout.config.join("lock")),
    ];
    (transaction, publications)
}

fn commit(bench: &mut Bench, content: &str) {
    let (transaction, publications) = attempt(bench, content);
    let committed = transaction.commit(&publications, done(), &|| false).unwrap();
    let step = committed.step.clone();
    bench.state.update(now(), |state| *state.step_mut("s").unwrap() = step).unwrap();
    committed.finish().unwrap();
}

fn visible(bench: &Bench) -> [Option<String>; 3] {
    let layout = &bench.layout;
    [read(layout.step("s").join("a")), read(layout.dist.join("a.out")), read(layout.config.join("lock"))]
}

fn all(content: &str) -> [Option<String>; 3] {
    [Some(content.into()), Some(content.into()), Some(content.into())]
}

/// Nothing of ours lies around but what is meant to.
fn assert_no_leftovers(bench: &Bench) {
    for folder in [&bench.layout.dist, &bench.layout.config, &bench.layout.build] {
        for entry in folder.read_dir().into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap();
            assert!(!name.ends_with(".tmp"), "{name}");
        }
    }
}

#[test]
fn commit_makes_tree_and_publications_visible_and_replaces_the_last() {
    let mut bench = bench();
    commit(&mut bench, "one");
    assert_eq!(visible(&bench), all("one"));
    commit(&mut bench, "two");
    assert_eq!(visible(&bench), all("two"));
    let outputs = bench.state.get().unwrap().step("s").unwrap().outputs.clone().unwrap();
    assert_eq!((outputs.files, outputs.bytes, outputs.published.len()), (1, 3, 2));
    assert!(!bench.layout.transaction("s").exists());
    assert_no_leftovers(&bench);
}

#[test]
fn roll_back_restores_the_previous_and_leaves_nothing() {
    let mut bench = bench();
    commit(&mut bench, "one");
    let (transaction, _) = attempt(&bench, "two");
    transaction.roll_back(&|_| false).unwrap();
    assert_eq!(visible(&bench), all("one"));
    assert!(!bench.layout.transaction("s").exists());
    assert_no_leftovers(&bench);
}

#[test]
fn preserve_keeps_the_journal_and_what_was_marked() {
    let bench = bench();
    let (transaction, _) = attempt(&bench, "two");
    transaction.journal().done("x", 1).unwrap();
    let marked = bench.layout.transaction("s").join("checkpoint");
    fs::create_dir_all(&marked).unwrap();
    transaction.preserve(&|_| false).unwrap();
    assert!(marked.exists());
    assert_eq!(journal_of(&bench.layout, "s").unwrap().0.done, 1);
    assert!(!bench.layout.transaction("s").join("tree").exists());
    assert_eq!(visible(&bench), [None, None, None]);
}

#[test]
fn commit_of_a_missing_artifact_is_refused() {
    let bench = bench();
    let (transaction, _) = attempt(&bench, "one");
    let missing = [Publication::artifact("nothing", bench.layout.dist.join("x"))];
    assert!(transaction.commit(&missing, done(), &|| false).is_err());
    assert_eq!(visible(&bench), [None, None, None]);
}

fn recover_now(bench: &mut Bench) -> Vec<Recovered> {
    recover(&bench.layout, &mut bench.state, |_| OnFailure::RollBack, now()).unwrap()
}

/// Copies `from` to `to` as it is, so that a commit can be stopped anywhere.
#[expect(clippy::disallowed_methods, reason = "a copy of a test needs no sync")]
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in from.read_dir().unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn an_attempt_without_a_decision_is_dropped_with_what_it_placed() {
    let mut bench = bench();
    commit(&mut bench, "one");
    let (transaction, publications) = attempt(&bench, "two");
    // Placed beside its destination, then killed.
    let placed = placed_beside(&publications[0].to, "s");
    fs::write_new(&placed, b"two").unwrap();
    let list = serde_json::to_vec(&[&placed]).unwrap();
    fs::write_new(&bench.layout.transaction("s").join("placed.json"), &list).unwrap();
    drop(transaction);
    assert_eq!(recover_now(&mut bench), [Recovered::Discarded("s".into())]);
    assert_eq!(visible(&bench), all("one"));
    assert!(!placed.exists());
    assert!(recover_now(&mut bench).is_empty());
}

#[test]
fn a_decided_commit_is_carried_out_from_wherever_it_stopped() {
    // How many of the acts of `apply` were done before the kill.
    for acts in 0..5 {
        let mut bench = bench();
        commit(&mut bench, "one");
        let before = tempfile::tempdir().unwrap();
        let (transaction, publications) = attempt(&bench, "two");
        let staging = bench.layout.transaction("s");
        // Take the staging directory as it is at the point of no return: a
        // commit whose `apply` has not begun.
        let committed = {
            copy(&staging, before.path());
            transaction.commit(&publications, done(), &|| false).unwrap()
        };
        let record = std::fs::read(staging.join("commit.json")).unwrap();
        drop(committed);
        copy(&before.path().join("tree"), &staging.join("tree"));
        fs::write_new(&staging.join("commit.json"), &record).unwrap();
        fs::write_new(&staging.join("listing.json"), &std::fs::read(bench.layout.step_listing("s")).unwrap()).unwrap();
        let placed: Vec<_> = publications.iter().map(|p| placed_beside(&p.to, "s")).collect();
        for (placed, publication) in placed.iter().zip(&publications) {
            fs::rename(&publication.to, placed).unwrap();
        }
        // Acts in the order of `apply`.
        fs::remove_dir_all(&bench.layout.step("s")).unwrap();
        if acts > 0 {
            fs::rename(&staging.join("tree"), &bench.layout.step("s")).unwrap();
        }
        if acts > 1 {
            fs::rename(&staging.join("listing.json"), &bench.layout.step_listing("s")).unwrap();
        }
        for at in 0..2 {
            if acts > 2 + at {
                fs::rename(&placed[at], &publications[at].to).unwrap();
            }
        }
        let recovered = recover_now(&mut bench);
        assert!(matches!(recovered.as_slice(), [Recovered::Committed(_)]), "{acts}");
        assert_eq!(visible(&bench), all("two"), "{acts}");
        assert_eq!(bench.state.get().unwrap().step("s").unwrap().status, Status::Completed);
        assert!(!staging.exists());
        assert_no_leftovers(&bench);
    }
}

/// Saved between the decision and the rename, which a kill may make hours.
#[test]
fn what_the_user_saved_since_it_was_read_is_kept() {
    for (before, is_carried_out_later) in [(None, false), (Some("read"), false), (None, true), (Some("read"), true)] {
        let mut bench = bench();
        let lock = bench.layout.config.join("lock");
        fs::create_dir_all(&bench.layout.config).unwrap();
        before.iter().for_each(|text| fs::write_new(&lock, text.as_bytes()).unwrap());
        let read_before = before.map(|text| Digest::of(text.as_bytes()));
        let (transaction, mut publications) = attempt(&bench, "two");
        let plain = publications.remove(1);
        publications.push(plain.clone().over(&bench.layout, read_before, "it was committed").unwrap());
        fs::write_new(&lock, b"the user's").unwrap();
        let error = plain.over(&bench.layout, read_before, "it was committed").unwrap_err();
        assert_eq!(error.class(), base::error::Class::Changed);

        let committed = transaction.commit(&publications, done(), &|| false).unwrap();
        assert_eq!(committed.kept, std::slice::from_ref(&lock));
        if is_carried_out_later {
            drop(committed);
            fs::write_new(&placed_beside(&lock, "s"), b"two").unwrap();
            assert!(matches!(recover_now(&mut bench).as_slice(), [Recovered::Committed(_)]));
        }
        assert_eq!(visible(&bench), [Some("two".into()), Some("two".into()), Some("the user's".into())]);
        assert_no_leftovers(&bench);
    }
}

#[test]
fn a_torn_decision_counts_as_none() {
    let mut bench = bench();
    let (transaction, _) = attempt(&bench, "one");
    fs::write_new(&bench.layout.transaction("s").join("commit.json"), b"{\"publications\":[").unwrap();
    drop(transaction);
    assert_eq!(recover_now(&mut bench), [Recovered::Discarded("s".into())]);
    assert_eq!(visible(&bench), [None, None, None]);
}

/// dist/ on another file system takes a copy, which may take minutes.
#[test]
fn a_copy_that_was_stopped_decides_nothing_and_leaves_nothing() {
    let mut bench = bench();
    let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") else { return };
    let dist = elsewhere.path().join("dist");
    let (transaction, _) = attempt(&bench, "new");
    let device = |path: &Path| std::os::unix::fs::MetadataExt::dev(&path.metadata().unwrap());
    let is_copied = device(transaction.tree().root()) != device(elsewhere.path());
    let publications = [Publication::artifact("a", dist.join("a.out"))];
    let result = transaction.commit(&publications, done(), &|| true);
    if !is_copied {
        return;
    }
    assert_eq!(result.unwrap_err().class(), base::error::Class::Interrupted);
    assert!(dist.read_dir().unwrap().next().is_some(), "part of a copy waits there");
    let layout = bench.layout.clone();
    let recovered = recover(&layout, &mut bench.state, |_| OnFailure::RollBack, now()).unwrap();
    assert_eq!(recovered, [Recovered::Discarded("s".into())]);
    assert_eq!(dist.read_dir().unwrap().count(), 0);
}

//! Guards what a partial blob is worth to the next process: everything that
//! was synced, without reading it again, and nothing that can not be trusted.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use airgap_tests::digest::sha256_file;
use airgap_tests::fault::{Fault, Gate, On};
use airgap_tests::images::{Image, Noise, Packing, layer_of};
use airgap_tests::registry::Registry;

use crate::faulty::{self, Plan};
use crate::fixture::Case;

const MIB: u64 = 1 << 20;
/// At most this much of a stream is fetched again after a kill: an interval,
/// and the piece that completes it.
const SYNC_INTERVAL: u64 = 16 * MIB + MIB;
/// Of the layer.
const SIZE: u64 = 80 * MIB;
/// Where the first run is killed.
const STALLED: u64 = 70 * MIB;
const LIMIT: Duration = Duration::from_secs(120);

/// A build that was killed with most of a large layer on the disk.
struct Interrupted {
    registry: Registry,
    case: Case,
    digest: String,
}

impl Interrupted {
    fn new(seed: u64) -> Self {
        let interrupted = Self::not_begun(seed);
        interrupted.registry.fault(interrupted.on_layer().once(), Fault::hang(STALLED));
        let running = interrupted.case.start(&["build"]);
        let deadline = Instant::now() + LIMIT;
        while interrupted.there() < STALLED {
            assert!(Instant::now() < deadline, "{} bytes after {LIMIT:?}", interrupted.there());
            std::thread::sleep(Duration::from_millis(5));
        }
        running.kill();
        interrupted.registry.heal();
        interrupted.registry.forget();
        interrupted
    }

    fn not_begun(seed: u64) -> Self {
        let registry = Registry::start();
        let content = Noise::new(seed).bytes(SIZE as usize);
        let image = Image::new(seed, &[layer_of("data", &content, Packing::Plain)]);
        registry.push("app:1", &image);
        let case = Case::new(|project| {
            project.write("config/versions.env", airgap_tests::project::VERSIONS_ENV);
            project.write("config/catalog.yaml", airgap_tests::project::EMPTY_CATALOG);
            project.with_registry(&registry.host()).with_image(registry.reference("app:1"))
        });
        Self { digest: image.layers[0].digest.clone(), registry, case }
    }

    fn on_layer(&self) -> On {
        On::get(self.digest.as_str())
    }

    fn partial(&self, file: &str) -> PathBuf {
        let hex = self.digest.trim_start_matches("sha256:");
        self.case.path(&format!("build/store/partial/{hex}/{file}"))
    }

    /// Bytes of the partial blob.
    fn there(&self) -> u64 {
        std::fs::metadata(self.partial("data")).map_or(0, |data| data.len())
    }

    /// The length that the journal's last line promises.
    fn synced(&self) -> u64 {
        let journal = std::fs::read_to_string(self.partial("journal")).expect("a journal");
        let last = journal.lines().last().expect("a line");
        let json = last.split_once(' ').expect("a checksum in front").1;
        serde_json::from_str::<serde_json::Value>(json).expect("JSON")["synced"].as_u64().expect("a length")
    }

    fn edit_journal(&self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut journal = std::fs::read(self.partial("journal")).expect("a journal");
        change(&mut journal);
        std::fs::write(self.partial("journal"), journal).expect("a journal");
    }

    /// Builds to the end. Returns where the first request for the layer began,
    /// and how many bytes the process had read by then.
    fn resumes(&self) -> (u64, u64) {
        let gate = Gate::default();
        self.registry.fault(self.on_layer().once(), Fault::Held(gate.clone()));
        let running = self.case.start(&["build"]);
        self.registry.wait_until(LIMIT, |log| log.iter().any(|entry| entry.path.contains(&self.digest)));
        let read = bytes_read(running.id());
        gate.open();
        running.finish().success();
        let requests = self.registry.requests("GET", &self.digest);
        assert_eq!(requests.len(), 1, "{}", self.registry.render_log());
        let blob = self.case.path(&format!("build/store/blobs/sha256/{}", self.digest.trim_start_matches("sha256:")));
        assert_eq!(format!("sha256:{}", sha256_file(&blob)), self.digest);
        self.case.package();
        self.case.assert_tidy();
        (requests[0].range.map_or(0, |(start, _)| start), read)
    }
}

/// What a process has read so far, from wherever.
fn bytes_read(process: u32) -> u64 {
    let counters = std::fs::read_to_string(format!("/proc/{process}/io")).expect("a running process");
    let line = counters.lines().find_map(|line| line.strip_prefix("rchar: ")).expect("a counter");
    line.parse().expect("a number")
}

#[test]
fn a_kill_costs_one_sync_interval_and_what_is_safe_is_read_once() {
    let interrupted = Interrupted::new(1);
    let (there, synced) = (interrupted.there(), interrupted.synced());
    assert!(synced + SYNC_INTERVAL >= there, "{there} bytes were there, {synced} of them safe");
    let (start, read) = interrupted.resumes();
    assert_eq!(start, synced);
    assert!(read >= synced, "only {read} bytes were read of {synced} that somebody else wrote");
    assert!(read < synced + SYNC_INTERVAL, "{read} bytes were read before the first request");
}

/// What rotted since it was synced never becomes a part of the blob, and costs
/// what lies behind the last sync before it.
#[test]
fn a_bit_that_flipped_in_what_was_synced_is_fetched_again() {
    let interrupted = Interrupted::new(9);
    let at = 20 * MIB;
    let mut bytes = std::fs::read(interrupted.partial("data")).expect("a partial blob");
    bytes[usize::try_from(at).expect("a small number")] ^= 1;
    std::fs::write(interrupted.partial("data"), &bytes).expect("a partial blob");
    let (start, _) = interrupted.resumes();
    assert!(start <= at && start + SYNC_INTERVAL >= at, "the bit at {at} flipped, asked from {start}");
}

#[test]
fn a_damaged_hash_state_only_costs_reading_again() {
    let interrupted = Interrupted::new(2);
    // Every line is whole, but none of the hash states is one.
    interrupted.edit_journal(|journal| {
        let text = String::from_utf8(std::mem::take(journal)).expect("text");
        for line in text.lines() {
            let json = line.split_once(' ').expect("a checksum in front").1;
            let mut value: serde_json::Value = serde_json::from_str(json).expect("JSON");
            if value.get("midstate").is_some() {
                value["midstate"] = "AAAA".into();
            }
            let json = value.to_string();
            let checksum = airgap_tests::digest::sha256(json.as_bytes());
            journal.extend(format!("{} {json}\n", &checksum[..16]).bytes());
        }
    });
    let synced = interrupted.synced();
    let (start, read) = interrupted.resumes();
    assert_eq!(start, synced);
    assert!(read >= synced, "only {read} bytes were read to hash {synced} again");
}

#[test]
fn a_damaged_last_line_costs_one_interval_more() {
    let interrupted = Interrupted::new(3);
    let synced = interrupted.synced();
    interrupted.edit_journal(|journal| {
        let at = journal.len() - 10;
        journal[at] ^= 0x20;
    });
    let (start, read) = interrupted.resumes();
    assert!(start < synced && start + SYNC_INTERVAL >= synced, "{synced} bytes were safe, asked from {start}");
    assert!(read < start + SYNC_INTERVAL, "{read} bytes were read before the first request");
}

#[test]
fn a_journal_cut_short_or_full_of_rubbish_costs_no_download() {
    for (seed, rubbish) in [(4, true), (5, false)] {
        let interrupted = Interrupted::new(seed);
        let there = interrupted.there();
        interrupted.edit_journal(|journal| {
            if rubbish {
                journal.iter_mut().for_each(|byte| *byte = byte.wrapping_mul(31));
            } else {
                journal.truncate(30);
            }
        });
        // The digest at the end is the proof, so every byte may be used.
        let (start, _) = interrupted.resumes();
        assert_eq!(start, there);
    }
}

#[test]
fn a_partial_blob_shorter_than_its_journal_goes_on_behind_what_is_left() {
    let interrupted = Interrupted::new(6);
    let length = 40 * MIB;
    let file = std::fs::OpenOptions::new().write(true).open(interrupted.partial("data")).expect("a partial blob");
    file.set_len(length).expect("a shorter file");
    let (start, _) = interrupted.resumes();
    assert!(start <= length && start + SYNC_INTERVAL >= length, "{length} bytes were there, asked from {start}");
}

#[test]
fn the_partial_blob_of_another_digest_is_not_continued() {
    let interrupted = Interrupted::new(7);
    // Whole and sound, but of something else.
    let other = interrupted.digest.replace("sha256:", "").chars().rev().collect::<String>();
    let folder = interrupted.partial("data").parent().expect("a folder").to_owned();
    interrupted.edit_journal(|journal| {
        let text = String::from_utf8(std::mem::take(journal)).expect("text");
        for line in text.lines() {
            let json = line.split_once(' ').expect("a checksum in front").1;
            let json = json.replace(interrupted.digest.trim_start_matches("sha256:"), &other);
            let checksum = airgap_tests::digest::sha256(json.as_bytes());
            journal.extend(format!("{} {json}\n", &checksum[..16]).bytes());
        }
    });
    assert!(folder.is_dir());
    let (start, _) = interrupted.resumes();
    assert_eq!(start, 0);
}

#[test]
fn damaged_bytes_are_found_at_the_end_and_fetched_once_from_scratch() {
    let interrupted = Interrupted::new(8);
    // Damaged where the journal does not vouch for it: behind the last sync
    // nothing is used, so the journal goes as well.
    std::fs::remove_file(interrupted.partial("journal")).expect("a journal");
    let mut bytes = std::fs::read(interrupted.partial("data")).expect("a partial blob");
    bytes[1000] ^= 1;
    std::fs::write(interrupted.partial("data"), &bytes).expect("a partial blob");
    interrupted.case.build();
    let requests = interrupted.registry.requests("GET", &interrupted.digest);
    let starts: Vec<_> = requests.iter().map(|entry| entry.range.map_or(0, |(start, _)| start)).collect();
    assert_eq!(starts, [STALLED, 0], "{}", interrupted.registry.render_log());
    interrupted.case.assert_tidy();
}

/// Killed between the sync of the bytes and the line that tells of it, and
/// right behind that line.
#[test]
fn a_kill_around_a_sync_point_costs_one_sync_interval() {
    for (checkpoint, visit) in [("partial-synced", 2), ("partial-journal-written", 2), ("partial-synced", 1)] {
        let interrupted = Interrupted::not_begun(9);
        let plan = Plan::Kill { checkpoint: checkpoint.to_owned(), visit };
        let run = faulty::run(&interrupted.case, &plan, &["build"]);
        assert_eq!(run.status.signal(), Some(9), "{run}");
        interrupted.registry.forget();
        let there = interrupted.there();
        let (start, _) = interrupted.resumes();
        assert!(start <= there && start + SYNC_INTERVAL >= there, "{there} bytes were there, asked from {start}");
    }
}

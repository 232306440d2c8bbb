//! Limits under strain: for each a guest that keeps it, one that exceeds it by
//! a little, and what an attacker who knows the code would try next.

use super::*;
use config::limits::Limit;

fn strains() -> PluginSource {
    granted("strains", Grants { directories: true, ..Grants::default() })
}

fn small() -> PluginSettings {
    PluginSettings {
        output_mib: 4,
        output_files: 50,
        scratch_mib: 4,
        scratch_files: 50,
        open_files: 10,
        ..PluginSettings::default()
    }
}

async fn strain(settings: PluginSettings, configuration: Value) -> Result<StepOutcome> {
    Bench::with(settings).run(&strains(), configuration).await
}

#[track_caller]
fn assert_names(error: &Error, limit: Limit) {
    assert_says(error, Class::Plugin, &["plugin strains 1.0.0", &format!("`{}`", limit.setting()), "raise"]);
}

/// What is kept and what is exceeded, through directories.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_guest_writes_through_directories_is_charged_while_it_grows() {
    let limits =
        [("/work", Limit::ScratchBytes, Limit::ScratchFiles), ("/out", Limit::OutputBytes, Limit::OutputFiles)];
    for (at, bytes, files) in limits {
        for what in ["grow", "sparse", "unlinked"] {
            strain(small(), json!({"what": what, "at": at, "times": 4})).await.unwrap();
            let error = strain(small(), json!({"what": what, "at": at, "times": 5})).await.unwrap_err();
            assert_names(&error, bytes);
        }
        let error = strain(small(), json!({"what": "hole", "at": at, "times": 4})).await.unwrap_err();
        assert_names(&error, bytes);
        for what in ["files", "folders"] {
            strain(small(), json!({"what": what, "at": at, "times": 50})).await.unwrap();
            let error = strain(small(), json!({"what": what, "at": at, "times": 51})).await.unwrap_err();
            assert_names(&error, files);
        }
    }
    strain(small(), json!({"what": "links", "times": 49})).await.unwrap();
    assert_names(&strain(small(), json!({"what": "links", "times": 50})).await.unwrap_err(), Limit::ScratchFiles);
}

/// Sixteen times what may lie there goes through, and never lies there.
#[tokio::test(flavor = "multi_thread")]
async fn who_writes_one_file_over_and_over_is_not_refused() {
    for (what, times) in [("rewrite", 64), ("overwrite", 64), ("files-again", 800)] {
        for at in ["/work", "/out"] {
            strain(small(), json!({"what": what, "at": at, "times": times})).await.unwrap();
        }
    }
}

/// A file may change its place, and an open one its name.
#[tokio::test(flavor = "multi_thread")]
async fn what_moves_is_charged_where_it_goes() {
    let settings = || PluginSettings { scratch_mib: 100, ..small() };
    strain(settings(), json!({"what": "move", "times": 4})).await.unwrap();
    assert_names(&strain(settings(), json!({"what": "move", "times": 5})).await.unwrap_err(), Limit::OutputBytes);
    let settings = || PluginSettings { scratch_mib: 8, ..small() };
    strain(settings(), json!({"what": "moved-open", "times": 4})).await.unwrap();
    assert_names(&strain(settings(), json!({"what": "moved-open", "times": 9})).await.unwrap_err(), Limit::OutputBytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_linked_into_or_out_of_an_input() {
    let bench = Bench::new();
    for what in ["link-in", "link-into"] {
        bench.run(&strains(), json!({"what": what})).await.unwrap_err();
    }
    assert!(!bench.path("build/steps/made/planted").exists());
    use std::os::unix::fs::MetadataExt;
    assert_eq!(bench.path("build/steps/made/a").metadata().unwrap().nlink(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_depth_is_bounded_when_directories_are_made() {
    strain(PluginSettings::default(), json!({"what": "deep", "times": 63})).await.unwrap();
    let error = strain(PluginSettings::default(), json!({"what": "deep", "times": 65})).await.unwrap_err();
    assert_says(&error, Class::Plugin, &["plugin strains 1.0.0", "nested more than 64 deep"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptors_are_bounded_whatever_they_are_of() {
    for what in ["open", "removed-folders", "streams", "writers"] {
        strain(small(), json!({"what": what, "times": 10})).await.unwrap();
        let error = strain(small(), json!({"what": what, "times": 11})).await.unwrap_err();
        assert_names(&error, Limit::OpenFiles);
        assert_says(&error, Class::Plugin, &["more than 10 files would be open"]);
    }
    strain(small(), json!({"what": "archives", "times": 8})).await.unwrap();
    let error = strain(small(), json!({"what": "archives", "times": 9})).await.unwrap_err();
    assert_says(&error, Class::Plugin, &["more than 8 archives would be written at the same time"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_host_holds_of_listings_is_bounded() {
    let settings = || PluginSettings { open_files: 1000, ..PluginSettings::default() };
    strain(settings(), json!({"what": "listings", "times": 199})).await.unwrap();
    let error = strain(settings(), json!({"what": "listings", "times": 300})).await.unwrap_err();
    assert_says(&error, Class::Plugin, &["plugin strains 1.0.0", "more than 200000 entries"]);
}

/// `made` with an archive of that many entries, and a large file.
fn with_archive(bench: &Bench, configuration: Value, entries: usize) -> Attempt {
    let path = bench.path("archive.tar");
    let mut writer = ArchiveWriter::create(path.clone(), Compression::None).unwrap();
    for number in 0..entries {
        writer.add(NewMember::bytes(format!("d/{number}"), 0o644, b"x".to_vec())).unwrap();
    }
    let (digest, size) = writer.finish().unwrap();
    let mut attempt = bench.attempt(configuration);
    let tree = TreeBuilder::new(bench.path("build/steps/archives"));
    tree.link(&path, digest, size, "archive.tar", false).unwrap();
    tree.write("large", &vec![7; 50 << 20], false).unwrap();
    attempt.trees.insert("made".into(), Tree { root: tree.root().to_owned(), listing: Arc::new(tree.listing()) });
    attempt
}

/// Each has a thread and a window of up to 128 MiB.
#[tokio::test(flavor = "multi_thread")]
async fn few_layers_are_read_at_the_same_time() {
    let read = async |times: usize| {
        let bench = Bench::new();
        let attempt = with_archive(&bench, json!({"what": "layers", "times": times}), 10);
        bench.runtime().run(&strains(), &attempt).await
    };
    read(4).await.unwrap();
    let error = read(5).await.unwrap_err();
    assert_says(&error, Class::Plugin, &["plugin strains 1.0.0", "more than 4 layers would be read at the same time"]);
}

async fn unpack(settings: PluginSettings, configuration: Value, entries: usize) -> Result<StepOutcome> {
    let bench = Bench::with(settings);
    let attempt = with_archive(&bench, configuration, entries);
    bench.runtime().run(&strains(), &attempt).await
}

#[tokio::test(flavor = "multi_thread")]
async fn unpacked_archives_are_scratch_as_long_as_they_are_held() {
    unpack(small(), json!({"what": "unpack", "times": 5}), 49).await.unwrap();
    let error = unpack(small(), json!({"what": "unpack", "times": 1}), 50).await.unwrap_err();
    assert_says(&error, Class::InvalidInput, &["too-large", "`plugins.scratch_files`", "the archive `archive.tar`"]);
    unpack(small(), json!({"what": "unpacked", "times": 2}), 20).await.unwrap();
    assert!(unpack(small(), json!({"what": "unpacked", "times": 3}), 20).await.is_err());
}

/// Loops of whatever the host does end when their share of it is used up.
#[tokio::test(flavor = "multi_thread")]
async fn the_host_works_so_long_for_a_call_and_no_longer() {
    let settings = || PluginSettings { host_limit: 1, ..PluginSettings::default() };
    for what in ["unpack", "mark", "entries", "read", "pack", "sync", "close"] {
        let started = Instant::now();
        let error = unpack(settings(), json!({"what": what}), 2000).await.unwrap_err();
        let taken = started.elapsed();
        assert!(taken < Duration::from_secs(20), "{what}: {taken:?}");
        assert_names(&error, Limit::HostTime);
        assert_says(&error, Class::Plugin, &["kept the host busy for longer than its limit of 1 s"]);
    }
    unpack(settings(), json!({"what": "unpack", "times": 1}), 10).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_a_pinned_plugin_ends_in_time() {
    let settings = PluginSettings { step_limit: 1, ..PluginSettings::default() };
    for (what, entries) in [("unpack", 20_000), ("mark", 1)] {
        let bench = Bench::with(settings.clone());
        let attempt = with_archive(&bench, json!({"what": what}), entries);
        let (runtime, source) = (bench.runtime(), strains());
        runtime.prepare(&source, &Progress::silent("prepare")).await.unwrap();
        let started = Instant::now();
        let error = runtime.run(&source, &attempt).await.unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(5), "{what}: {:?}", started.elapsed());
        assert_names(&error, Limit::StepTime);
    }
}

/// A long unpacking was finished first.
#[tokio::test(flavor = "multi_thread")]
async fn an_interruption_ends_the_hosts_work_as_well() {
    let bench = Bench::new();
    let attempt = with_archive(&bench, json!({"what": "unpack", "times": 1}), 60_000);
    let (runtime, source) = (bench.runtime(), strains());
    runtime.prepare(&source, &Progress::silent("prepare")).await.unwrap();
    let cancel = bench.cancel.clone();
    let stop = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        cancel.cancel();
        Instant::now()
    });
    let error = runtime.run(&source, &attempt).await.unwrap_err();
    assert_eq!(error.class(), Class::Interrupted);
    let taken = stop.await.unwrap().elapsed();
    assert!(taken < Duration::from_secs(2), "{taken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_marks_keep_is_bounded_although_the_outputs_are_gone() {
    strain(small(), json!({"what": "mark-and-remove", "times": 4})).await.unwrap();
    let error = strain(small(), json!({"what": "mark-and-remove", "times": 5})).await.unwrap_err();
    assert_says(&error, Class::Plugin, &["what is marked would have more than 4 MiB", "`plugins.output_mib`"]);
}

/// A megabyte of paths were gigabytes of directories.
#[tokio::test(flavor = "multi_thread")]
async fn deep_members_of_a_nested_archive_cost_nothing() {
    let error = strain(PluginSettings::default(), json!({"what": "nested", "times": 10_000})).await.unwrap_err();
    assert_says(&error, Class::InvalidInput, &["nested more than 64 deep"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_seem_to_be_others_are_no_outputs() {
    for (names, word) in [
        (json!(["a", "A"]), "one file to some systems"),
        (json!(["d/x", "D/y"]), "one file to some systems"),
        (json!(["k", "\u{212a}"]), "one file to some systems"),
        (json!(["a\u{202e}b"]), "nobody sees"),
        (json!(["a\u{200b}"]), "nobody sees"),
        (json!(["a\u{e0041}"]), "nobody sees"),
        (json!(["z\u{430}rf.yaml"]), "two alphabets"),
    ] {
        for what in ["names", "names-in-out"] {
            if what == "names-in-out" && names[0].as_str().unwrap().contains('/') {
                continue;
            }
            let error = strain(PluginSettings::default(), json!({"what": what, "names": names})).await.unwrap_err();
            assert_says(&error, Class::Plugin, &[word]);
        }
    }
}

/// What a guest is told of a failure names nothing of this machine.
#[tokio::test(flavor = "multi_thread")]
async fn errors_tell_a_guest_nothing_of_where_things_lie() {
    let bench = Bench::new();
    let attempt = with_archive(&bench, json!({"what": "unpack", "times": 1}), 1);
    let damaged = bench.path("build/steps/archives/archive.tar");
    for content in [b"PK\x03\x04 and nothing".as_slice(), b"\x1f\x8b and nothing", b"nothing"] {
        fs::remove_file(&damaged).unwrap();
        fs::write_new(&damaged, content).unwrap();
        let error = bench.runtime().run(&strains(), &attempt).await.unwrap_err();
        let text = format!("{} {}", error.one_line(), error.hint_text().unwrap_or_default());
        assert!(text.contains("archive.tar") && !text.contains(&*bench.root.path().to_string_lossy()), "{text}");
    }
}

/// Prints what an honest guest pays: run it with `--ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures"]
async fn what_files_cost() {
    let settings = PluginSettings { scratch_mib: 4096, scratch_files: 100_000, ..PluginSettings::default() };
    let bench = Bench::with(settings);
    let (runtime, source) = (bench.runtime(), strains());
    runtime.prepare(&source, &Progress::silent("prepare")).await.unwrap();
    for _ in 0..5 {
        let started = Instant::now();
        runtime.run(&source, &bench.attempt(json!({"what": "honest", "times": 10_000}))).await.unwrap();
        println!("1 GiB written and read, 10,000 files: {:?}", started.elapsed());
    }
}

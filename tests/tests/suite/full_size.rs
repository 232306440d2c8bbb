//! Guards downloads of which every byte is there while nobody has said that it
//! was the last: they are found complete, checked, and not fetched again.

use std::time::{Duration, Instant};

use airgap_tests::fault::{Fault, On};
use airgap_tests::file_server::FileServer;
use airgap_tests::http::LoggedRequest;
use airgap_tests::images::{Image, Noise, Packing, layer_of};
use airgap_tests::project::Project;
use airgap_tests::registry::Registry;

/// Larger than what is collected in memory.
const SIZE: usize = 1 << 20;

/// A tool, with or without a published checksum, and a project that wants it.
struct Tool {
    files: FileServer,
    project: Project,
    content: Vec<u8>,
}

impl Tool {
    fn new(has_checksum: bool) -> Self {
        let files = FileServer::start();
        let content = Noise::new(3).bytes(SIZE);
        let url = files.put("/tool", content.clone());
        let checksums = has_checksum.then(|| files.put_checksum_list("/SHA256SUMS", &["/tool"]));
        let project = Project::new().with_file_server(&files.host()).with_tool("tool", &url, checksums.as_deref());
        Self { files, project, content }
    }

    #[track_caller]
    fn builds(&self) -> Vec<(u16, Option<u64>)> {
        let run = self.project.run(&["build"]);
        assert_eq!(run.status.code(), Some(0), "{run}\n{}", self.files.render_log());
        assert!(std::fs::read(self.project.path("build/steps/files/bin/tool")).unwrap() == self.content);
        answers(&self.files.requests("GET", "/tool"))
    }
}

/// Status and first byte asked for.
fn answers(requests: &[LoggedRequest]) -> Vec<(u16, Option<u64>)> {
    requests.iter().map(|entry| (entry.status, entry.range.map(|(start, _)| start))).collect()
}

/// Waits until the journal of the one partial blob counts every byte as safe.
fn wait_for_all_bytes(project: &Project) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let is_safe = || {
        let folder = std::fs::read_dir(project.path("build/store/partial")).into_iter().flatten().flatten().next();
        let journal = folder.and_then(|folder| std::fs::read_to_string(folder.path().join("journal")).ok());
        journal.is_some_and(|text| text.contains(&format!("\"synced\":{SIZE},")))
    };
    while !is_safe() {
        assert!(Instant::now() < deadline, "the download was not synced");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_416_at_full_size_is_the_end_of_the_download() {
    for has_checksum in [false, true] {
        let tool = Tool::new(has_checksum);
        tool.files.fault(On::get("/tool").once(), Fault::NoEnd { silent: false });
        assert_eq!(tool.builds(), [(200, None), (416, Some(SIZE as u64))], "with checksum: {has_checksum}");
    }
}

#[test]
fn a_416_at_full_size_is_the_end_after_a_kill_too() {
    for has_checksum in [false, true] {
        let tool = Tool::new(has_checksum);
        tool.files.fault(On::get("/tool").once(), Fault::NoEnd { silent: true });
        let running = tool.project.start(&["build"]);
        wait_for_all_bytes(&tool.project);
        running.kill();
        tool.files.forget();
        assert_eq!(tool.builds(), [(416, Some(SIZE as u64))], "with checksum: {has_checksum}");
    }
}

/// The bytes are there, but they are those of what was published before.
#[test]
fn what_changed_meanwhile_is_fetched_anew_and_not_taken_for_complete() {
    let mut tool = Tool::new(true);
    tool.files.fault(On::get("/tool").once(), Fault::NoEnd { silent: true });
    let running = tool.project.start(&["build"]);
    wait_for_all_bytes(&tool.project);
    running.kill();
    tool.content = Noise::new(4).bytes(SIZE);
    tool.files.put("/tool", tool.content.clone());
    tool.files.put_checksum_list("/SHA256SUMS", &["/tool"]);
    tool.files.forget();
    // A range is asked for by the checksum; what is there does not match it.
    assert_eq!(tool.builds().last(), Some(&(200, None)), "{}", tool.files.render_log());
}

/// Without a validator nobody could tell whether it is still the same.
#[test]
fn a_server_without_validators_is_asked_from_the_beginning() {
    let tool = Tool::new(false);
    tool.files.put_plain("/tool", tool.content.clone());
    tool.files.fault(On::get("/tool").once(), Fault::NoEnd { silent: false });
    assert_eq!(tool.builds(), [(200, None), (200, None)]);
}

/// The size of a layer is known: nobody is asked whether it was all.
#[test]
fn a_layer_that_was_all_there_when_the_build_was_killed_is_not_asked_for_again() {
    let registry = Registry::start();
    // The tar around it adds a header of 512 bytes and an end of 1024.
    let layer = layer_of("data", &Noise::new(5).bytes(SIZE - 1536), Packing::Plain);
    assert_eq!(layer.blob.size(), SIZE as u64);
    let image = Image::new(1, &[layer]);
    registry.push("app:1", &image);
    let digest = image.layers[0].digest.as_str();
    let project = Project::new().with_registry(&registry.host()).with_image(registry.reference("app:1"));
    registry.fault(On::get(digest).once(), Fault::NoEnd { silent: true });
    let running = project.start(&["build"]);
    wait_for_all_bytes(&project);
    running.kill();
    registry.forget();
    project.build();
    assert!(registry.requests("GET", digest).is_empty(), "{}", registry.render_log());
}

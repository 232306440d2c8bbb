//! Guards that bytes which were never synced are worth nothing once the power
//! was gone, and everything while only the process was.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use airgap_tests::fault::{Fault, On};
use airgap_tests::images::{Image, Noise, Packing, layer_of};
use airgap_tests::project::{EMPTY_CATALOG, VERSIONS_ENV};
use airgap_tests::registry::Registry;

use crate::faulty;
use crate::fixture::Case;

/// Less than what is synced at once.
const SIZE: u64 = 12 << 20;

struct Layer {
    registry: Registry,
    digest: String,
}

impl Layer {
    fn new() -> Self {
        let registry = Registry::start();
        let content = Noise::new(1).bytes(SIZE as usize);
        let image = Image::new(1, &[layer_of("data", &content, Packing::Plain)]);
        registry.push("app:1", &image);
        Self { digest: image.layers[0].digest.clone(), registry }
    }

    fn case(&self) -> Case {
        self.case_of(&["app:1"])
    }

    fn case_of(&self, images: &[&str]) -> Case {
        Case::new(|project| {
            project.write("config/versions.env", VERSIONS_ENV);
            project.write("config/catalog.yaml", EMPTY_CATALOG);
            let project = project.with_registry(&self.registry.host());
            images.iter().fold(project, |project, name| project.with_image(self.registry.reference(name)))
        })
    }

    fn data(&self, case: &Case) -> PathBuf {
        case.path(&format!("build/store/partial/{}/data", self.digest.trim_start_matches("sha256:")))
    }

    /// Where each request for the layer began.
    fn starts(&self) -> Vec<u64> {
        let requests = self.registry.requests("GET", &self.digest);
        requests.iter().map(|entry| entry.range.map_or(0, |(start, _)| start)).collect()
    }
}

/// File systems write down lengths before bytes.
#[test]
fn zeros_where_bytes_were_not_synced_are_not_believed() {
    let layer = Layer::new();
    let counted = faulty::count(&layer.case(), &["build", "--step", "images"]).operations;
    let is_write = |line: &&String| line.starts_with("Write ") && line.ends_with("/data");
    let first = counted.iter().position(|line| is_write(&line)).expect("the layer is written");
    let writes = counted[first..].iter().filter(is_write).count();
    let at = first + writes * 3 / 4;

    let case = layer.case();
    let run = faulty::run(&case, &format!("zeroed-power-loss:{at}"), &["build", "--step", "images"]);
    assert_eq!(run.status.signal(), Some(9), "{run}");
    let left = std::fs::read(layer.data(&case)).expect("the file has its length");
    assert!(left.len() > 1 << 20 && left.iter().all(|byte| *byte == 0), "{} bytes", left.len());
    layer.registry.forget();
    case.build();
    assert_eq!(layer.starts(), [0], "{}", layer.registry.render_log());
    case.assert_tidy();
}

#[test]
fn a_kill_in_the_first_interval_costs_nothing() {
    let layer = Layer::new();
    let case = layer.case();
    let stalled = 6 << 20;
    layer.registry.fault(On::get(layer.digest.as_str()).once(), Fault::hang(stalled));
    let running = case.start(&["build"]);
    let deadline = Instant::now() + Duration::from_secs(60);
    while std::fs::metadata(layer.data(&case)).map_or(0, |data| data.len()) < stalled {
        assert!(Instant::now() < deadline, "{}", layer.registry.render_log());
        std::thread::sleep(Duration::from_millis(5));
    }
    running.kill();
    layer.registry.forget();
    case.build();
    assert_eq!(layer.starts(), [stalled], "{}", layer.registry.render_log());
}

/// A full disk ends the step at once, and is not the only thing to mend.
#[test]
fn a_full_disk_hides_no_other_failure() {
    let layer = Layer::new();
    layer.registry.fault(On::get("/gone/manifests/"), Fault::status(404));
    let case = || layer.case_of(&["app:1", "gone:1"]);
    let counting = case();
    let count = counting.path("count");
    faulty::run(&counting, &format!("count:{}", count.display()), &["build", "--step", "images"]).code(1);
    let counted = std::fs::read_to_string(count).expect("the binary counts");
    let mut operations = counted.lines().filter(|line| !line.starts_with("checkpoint "));
    let at = 1 + operations.position(|line| line.starts_with("Write ") && line.ends_with("/data")).expect("a write");
    let run = faulty::run(&case(), &format!("fail:{}:ENOSPC", at + 3), &["build", "--step", "images"]).code(75);
    run.says(&["No space left on device", "gone:1", "404"]);
}

//! What it costs to write down that an item is done: the step `images` runs
//! again with everything in the store, so that of each image only the record
//! is left to be made: its line in the journal, its place in the layout and in
//! the listing of the step. What a build of no image takes is subtracted.

use airgap_tests::images::Image;
use airgap_tests::measure::bytes_written;
use airgap_tests::project::Project;
use airgap_tests::registry::Registry;
use serde_json::{Value, json};

use crate::run::{run, typical};
use crate::table::{Table, Target, Unit};

const COUNTS: [usize; 3] = [10, 1_000, 10_000];
/// The package itself is left out.
const FIRST: [&str; 4] = ["build", "--quiet", "--step", "images"];
const AGAIN: [&str; 5] = ["build", "--quiet", "--step", "images", "--no-resume"];

pub(crate) fn measure(table: &mut Table, _: usize) -> anyhow::Result<()> {
    let registry = Registry::start();
    let empty = Recorded::of(&registry, 0)?;
    table.begin("Recording items that are done, state.json and journal included");
    let mut first: Option<f64> = None;
    for count in COUNTS {
        let recorded = Recorded::of(&registry, count)?;
        let each = |whole: f64, without: f64| (whole - without) / count as f64;
        let bytes = each(recorded.bytes, empty.bytes);
        table.tell(&format!("each of {count}"), Unit::Microseconds, each(recorded.time, empty.time));
        match first {
            None => table.tell(&format!("each of {count}, written"), Unit::Bytes, bytes),
            Some(first) => {
                let same = Target::AtMost((first * 1.1).round());
                table.row(&format!("each of {count}, written"), Unit::Bytes, same, bytes);
            }
        }
        first.get_or_insert(bytes);
    }
    Ok(())
}

struct Recorded {
    /// Seconds.
    time: f64,
    bytes: f64,
}

impl Recorded {
    fn of(registry: &Registry, count: usize) -> anyhow::Result<Self> {
        let project = Project::new().with_registry(&registry.host());
        let images: Vec<Value> = (0..count).map(|number| json!({ "image": push(registry, number) })).collect();
        project.write("config/components.yaml", json!({ "images": { "additional": images } }).to_string());
        anyhow::ensure!(run(&project, &FIRST).status.success(), "the build failed: {}", project.run(&["status"]));
        registry.forget();
        let runs = if count > 1_000 { 1 } else { 9 };
        let time = typical(&project, &AGAIN, runs)?.as_secs_f64();
        let bytes = bytes_written(&mut project.command(&AGAIN)) as f64;
        anyhow::ensure!(registry.log().is_empty(), "what was there was asked for again");
        Ok(Self { time, bytes })
    }
}

/// An image of nothing but a manifest and a configuration.
fn push(registry: &Registry, number: usize) -> String {
    let name = format!("state{number}:1");
    registry.push(&name, &Image::new(number as u64, &[]));
    registry.reference(&name)
}

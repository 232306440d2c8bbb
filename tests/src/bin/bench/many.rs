//! Many images of 2 small layers, one of them shared by ten: time and memory
//! are linear in their number, and nothing is asked for twice.

use airgap_tests::images::{Image, Layer, layer};
use airgap_tests::project::Project;
use airgap_tests::registry::Registry;
use serde_json::json;

use crate::run::build;
use crate::table::{Table, Target, Unit};

const SHARING: usize = 10;
const COUNTS: [usize; 2] = [100, 1_000];

/// A registry with so many images, and a project that wants them all.
pub(crate) fn images(count: usize) -> (Registry, Vec<Image>, Project) {
    let registry = Registry::start();
    let shared: Vec<Layer> = (0..count.div_ceil(SHARING)).map(|seed| layer(seed as u64, 2_000)).collect();
    let mut images = Vec::new();
    let mut wanted = Vec::new();
    for number in 0..count {
        let own = layer(1_000_000 + number as u64, 2_000);
        let image = Image::new(number as u64, &[shared[number / SHARING].clone(), own]);
        registry.push(&name(number), &image);
        wanted.push(json!({ "image": registry.reference(&name(number)) }));
        images.push(image);
    }
    let project = Project::new().with_registry(&registry.host());
    project.write("config/components.yaml", json!({ "images": { "additional": wanted } }).to_string());
    (registry, images, project)
}

/// Of an image by its number.
pub(crate) fn name(number: usize) -> String {
    format!("app{number}:1")
}

pub(crate) fn measure(table: &mut Table, _: usize) -> anyhow::Result<()> {
    table.begin("Many images of 2 small layers");
    let mut costs = Vec::new();
    for count in COUNTS {
        let (registry, _, project) = images(count);
        let cost = build(&project)?;
        table.tell(&format!("{count} images"), Unit::Seconds, cost.time.as_secs_f64());
        table.tell(&format!("{count} images, peak memory"), Unit::Mebibytes, cost.memory as f64);
        // A manifest, a configuration and a layer of its own for each.
        let least = Target::AtMost((3 * count + count / SHARING) as f64);
        table.row(&format!("{count} images, requests"), Unit::Count, least, registry.log().len() as f64);
        costs.push((count as f64, cost));
    }
    if let [(few, of_few), (many, of_many)] = costs[..] {
        let each = (of_many.time.as_secs_f64() / many) / (of_few.time.as_secs_f64() / few);
        table.row("time of each among many ÷ among few", Unit::Times, Target::AtMost(1.1), each);
        let memory = (of_many.memory as f64 - of_few.memory as f64) / (many - few);
        table.tell("memory of each further image", Unit::Bytes, memory);
    }
    Ok(())
}

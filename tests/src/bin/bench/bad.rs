//! 1,000 small images, three of them bad: the others are done, the three are
//! listed, and the next build fetches only what was missing.

use airgap_tests::fault::{Fault, On};
use serde_json::Value;

use crate::many::{images, name};
use crate::run::build;
use crate::table::{Table, Target, Unit};

const COUNT: usize = 1_000;
/// A manifest that is gone, a layer that may not be read, a layer of other
/// bytes than announced.
const BAD: [usize; 3] = [17, 500, 999];

pub(crate) fn measure(table: &mut Table, _: usize) -> anyhow::Result<()> {
    let (registry, images, project) = images(COUNT);
    let layer = |number: usize| images[number].layers[1].digest.clone();
    registry.fault(On::get(format!("/app{}/manifests/", BAD[0])), Fault::status(404));
    registry.fault(On::get(layer(BAD[1])), Fault::status(403));
    registry.fault(On::get(layer(BAD[2])), Fault::Damage { at: 100 });
    let run = project.run(&["build"]);
    table.begin(&format!("{COUNT} small images, {} of them bad", BAD.len()));
    table.tell("until it ends", Unit::Seconds, run.time.as_secs_f64());
    let items = &project.step("images")["items"];
    let failed: Vec<&str> =
        items["failed"].as_array().into_iter().flatten().filter_map(|item| item["name"].as_str()).collect();
    let bad = BAD.map(|number| registry.reference(&name(number)));
    let listed = bad.iter().filter(|image| failed.contains(&image.as_str()) && run.stderr.contains(*image)).count();
    table.exactly("images done", &(COUNT - BAD.len()).to_string(), &count(&items["done"]));
    table.exactly("images listed as bad", &BAD.len().to_string(), &listed.min(failed.len()).to_string());
    table.exactly("exit code", "1", &run.status.code().unwrap_or(-1).to_string());

    registry.heal();
    registry.forget();
    let again = build(&project)?;
    // A manifest with its configuration and layer, and two layers.
    table.row("once they are mended: requests", Unit::Count, Target::AtMost(5.0), registry.log().len() as f64);
    table.tell("once they are mended: to the package", Unit::Seconds, again.time.as_secs_f64());
    Ok(())
}

fn count(value: &Value) -> String {
    value.as_u64().map_or_else(|| "none".to_owned(), |count| count.to_string())
}

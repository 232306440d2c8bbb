//! Memory must not grow with the data.

use crate::compare::{MEMORY, verify};
use crate::run::{build, metrics, steps};
use crate::table::{Table, Target, Unit};
use crate::workload::Workload;

const FACTOR: usize = 10;

pub(crate) fn measure(table: &mut Table, _: usize) -> anyhow::Result<()> {
    let Some(workload) = Workload::new(FACTOR) else { return Ok(()) };
    table.begin(&format!("{FACTOR} times the data in as many images"));
    table.tell("blobs", Unit::Megabytes, workload.payload as f64);
    let project = workload.project();
    let cost = build(&project)?;
    table.tell("`build`", Unit::Seconds, cost.time.as_secs_f64());
    for step in steps(&metrics(&project)?) {
        let name = format!("step {}", step["id"].as_str().unwrap_or("?"));
        table.tell(&name, Unit::Milliseconds, step["duration_ms"].as_f64().unwrap_or(0.0) / 1e3);
    }
    table.row("peak memory", Unit::Mebibytes, Target::AtMost(MEMORY), cost.memory as f64);
    let speed = verify(table, &project, &workload)?;
    table.tell("`verify`, of what is packaged", Unit::GigabytesPerSecond, speed);
    Ok(())
}

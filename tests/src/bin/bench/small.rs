//! What the commands cost that people run all the time.

use std::time::Duration;

use airgap_tests::images::Image;
use airgap_tests::project::Project;
use airgap_tests::registry::Registry;

use crate::run::{build, typical};
use crate::table::{Table, Target, Unit};

const RUNS: usize = 30;

pub(crate) fn measure(table: &mut Table, _: usize) -> anyhow::Result<()> {
    let registry = Registry::start();
    registry.push("app:1", &Image::small(1, 5_000));
    let project = Project::new().with_registry(&registry.host()).with_image(registry.reference("app:1"));
    build(&project)?;
    table.begin(&format!("Small things, the median of {RUNS} runs"));
    let limit = |milliseconds| Target::AtMost(Duration::from_millis(milliseconds).as_secs_f64());
    let nothing = typical(&project, &["build"], RUNS)?.as_secs_f64();
    table.row("`build` with nothing to do", Unit::Milliseconds, limit(30), nothing);
    let status = typical(&project, &["status"], RUNS)?.as_secs_f64();
    table.row("`status`", Unit::Milliseconds, limit(10), status);
    table.tell("`--version`", Unit::Milliseconds, typical(&project, &["--version"], RUNS)?.as_secs_f64());
    let again = typical(&project, &["build", "--no-resume"], RUNS)?.as_secs_f64();
    table.tell("every step again, one small image", Unit::Milliseconds, again);
    Ok(())
}

//! What one more step that is a plugin costs a build, with a warm cache: a
//! pipeline with a step that writes a line, beside the same without it.

use airgap_tests::digest::sha256_file;
use airgap_tests::project::{Project, target_folder};
use serde_json::{Value, json};

use crate::run::typical;
use crate::table::{Table, Target, Unit, difference};

const RUNS: usize = 30;

pub(crate) fn measure(table: &mut Table, _: usize) -> anyhow::Result<()> {
    let guest = target_folder().parent().expect("target/ has profiles").join("test-guests/hello.wasm");
    anyhow::ensure!(guest.is_file(), "{} is not there: run `make plugins`", guest.display());
    let project = Project::new();
    project.write("hello.wasm", std::fs::read(&guest)?);
    let lock = json!({ "format": 1, "plugins": { "hello": { "path": "hello.wasm", "sha256": sha256_file(&guest) } } });
    project.write("config/plugins.lock", lock.to_string());
    let step = |id: &str, needs: &str| {
        json!({
            "id": id, "name": "Hello", "run": { "plugin": "hello" }, "needs": [needs], "on_failure": "roll-back",
            "configuration": { "name": id },
        })
    };
    // One step needs the engine as well, two show what each further one costs.
    let none = with_steps(&project, &[])?;
    let one = with_steps(&project, &[step("one", "config")])?;
    let steps = [step("one", "config"), step("two", "one")];
    let two = with_steps(&project, &steps)?;
    let project = project.with_settings(|settings| settings["security"] = json!({ "second_wall": "off" }));
    let without_wall = with_steps(&project, &steps)?;
    table.begin(&format!("A plugin step that writes a line, warm cache, the median of {RUNS} runs"));
    table.tell("a build of no plugin", Unit::Milliseconds, none.as_secs_f64());
    let limit = Target::AtMost(0.010);
    table.row("the first plugin step, the engine included", Unit::Milliseconds, limit, difference(one, none));
    table.row("each further plugin step", Unit::Milliseconds, limit, difference(two, one));
    let wall = difference(two, without_wall);
    table.row("the second wall around a build", Unit::Milliseconds, Target::AtMost(0.005), wall);
    Ok(())
}

fn with_steps(project: &Project, steps: &[Value]) -> anyhow::Result<std::time::Duration> {
    let config =
        json!({ "id": "config", "name": "Configuration", "run": { "host": "config" }, "on_failure": "roll-back" });
    let steps = [&[config], steps].concat();
    project.write("config/pipeline.yaml", json!({ "steps": steps }).to_string());
    // The first run compiles, the second takes what the first has compiled.
    typical(project, &["build", "--clean"], 2)?;
    typical(project, &["build", "--no-resume"], RUNS)
}

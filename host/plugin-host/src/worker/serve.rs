//! The process itself: one question in, one answer out.

use std::io::{self, Read};
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use wasmtime::component::Component;

use super::{Answer, Fitting, Head, Task, Told, frame};
use crate::bindings::step;
use crate::code::compile_error;
use crate::description::{Said, Want};
use crate::engine::Machine;
use crate::limits::{COMPILED_BYTES, CallLimits};
use crate::open_files::Descriptors;
use crate::running::{Running, Setup};
use crate::subject::Subject;
use crate::{code, engine, link, schema};
use base::error::{Error, Result};
use base::progress::{Progress, Silent};
use confine::alone;

/// What the process runs. Its exit code says nothing: whoever asks looks at
/// the answer, and at the signal that ended the process.
pub fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// The engine is made before the limits are set: what it does depends on how
/// much address space there is, and code is good for one kind of engine.
fn serve() -> io::Result<()> {
    let engine = engine::new().map_err(io::Error::other)?;
    let (head, body) = frame::read::<Head, _>(io::stdin().lock())?;
    alone::end_with_parent(head.parent)?;
    alone::leave_everything(head.bounds)?;
    let answered = respond(&engine, &head.task, body);
    let mut out = io::stdout().lock();
    match answered {
        Ok(body) => frame::write(&mut out, &Answer::Done, &body),
        Err(error) => frame::write(&mut out, &Answer::Failed(Told::of(&error)), &[]),
    }
}

/// The body is read once nothing is left that could be lost to it.
fn respond(engine: &wasmtime::Engine, task: &Task, body: frame::Incoming<impl Read>) -> Result<Vec<u8>> {
    let body = body.body(COMPILED_BYTES).map_err(|error| Error::local("the question breaks off").caused_by(error))?;
    answer(engine, task, body)
}

/// Does what is asked.
///
/// # Errors
/// `plugin` for what a component does wrong; `local`.
pub(super) fn answer(engine: &wasmtime::Engine, task: &Task, body: Vec<u8>) -> Result<Vec<u8>> {
    match task {
        Task::Compile { subject } => {
            engine.precompile_component(&body).map_err(|error| compile_error(&subject.to_string(), &error))
        }
        Task::Describe { subject, settings, own } => {
            let component = code::load(engine, &body)
                .ok_or_else(|| Error::local(format!("the code of {subject} is not of this engine")))?;
            // Its bytes are in the code by now.
            drop(body);
            let limits = CallLimits::describe(settings, *own);
            json(&describe(engine, &component, subject, &limits)?)
        }
        Task::Check => json(&check(&body)?),
    }
}

fn describe(engine: &wasmtime::Engine, component: &Component, subject: &Subject, limits: &CallLimits) -> Result<Said> {
    let machine = Machine::of(engine.clone())?;
    let loaded = link(&machine, &subject.to_string(), component)?;
    let progress = Progress::new("describe", Arc::new(Silent), CancellationToken::new());
    let open_files = Descriptors::of_process().for_call(limits.open_files);
    let setup = Setup { subject, limits, epoch: 0, progress, directories: None, work: None, open_files };
    let mut running = Running::new(&machine, setup)?;
    // Without a driver for files and sockets: there are none.
    let executor = tokio::runtime::Builder::new_current_thread().build();
    let executor = executor.map_err(|source| Error::local("cannot start the runtime").caused_by(source))?;
    executor.block_on(running.describe(&loaded)).map(Said::of)
}

impl Said {
    fn of(said: step::Description) -> Self {
        let wants = said.wants.into_iter().map(|want| match want {
            step::Want::Fetch(prefix) => Want::Fetch(prefix),
            step::Want::Directories => Want::Directories,
        });
        Self {
            name: said.name,
            version: said.version,
            summary: said.summary,
            configuration_schema: said.configuration_schema,
            wants: wants.collect(),
        }
    }
}

fn check(body: &[u8]) -> Result<Vec<String>> {
    let failed = |error| Error::local("the question is not what it should be").caused_by(error);
    let Fitting { schema, configuration, provided } = serde_json::from_slice(body).map_err(failed)?;
    let schema: Value = serde_json::from_str(&schema).map_err(failed)?;
    let configuration: Value = serde_json::from_str(&configuration).map_err(failed)?;
    let provided: Vec<&str> = provided.iter().map(String::as_str).collect();
    Ok(schema::problems(&schema, &configuration, "configuration", &provided))
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::local("the answer can not be written").caused_by(error))
}

//! A plugin's code: out of the cache, or made by a process of its own.

use std::sync::{Arc, PoisonError};

use super::catalog::PluginSource;
use super::code::Code;
use super::subject::Subject;
use super::worker::{self, Question, Task};
use super::{Runtime, blocking, limits, subject_of, validate};
use base::digest::Digest;
use base::error::{Error, Result};
use base::progress::{Level, Progress};
use config::limits::{Limit, PluginSettings};
use confine::alone::{Bounds, Memory};
use confine::wall::Wall;

impl Runtime {
    /// The code of a plugin, ready to be loaded.
    ///
    /// # Errors
    /// `plugin` where it can not be compiled or met a limit; `interrupted`;
    /// `local`, and where it is of a third party and nobody asked for a wall.
    pub(super) async fn compiled(self: &Arc<Self>, source: &PluginSource, progress: &Progress) -> Result<Code> {
        if let Some(code) = self.kept(source).await? {
            return Ok(code);
        }
        let (subject, digest) = (subject_of(source, None), source.digest);
        progress.log(Level::Info, &format!("compiling plugin {}", source.name));
        let code = self.compile(source, subject, progress).await?;
        let (runtime, machine) = (self.clone(), self.machine()?);
        blocking(move || {
            if let Some(cache) = runtime.cache() {
                cache.store(&machine.engine, digest, &code);
            }
            Ok(Code::of(code))
        })
        .await
    }

    /// The same, where the cache has it.
    ///
    /// # Errors
    /// `local` where it is of a third party and nobody asked for a wall.
    pub(super) async fn kept(self: &Arc<Self>, source: &PluginSource) -> Result<Option<Code>> {
        if !source.is_core() && self.options.wall == Wall::Unasked {
            let subject = subject_of(source, None);
            return Err(Error::local(format!("{subject} is of a third party, and no wall was asked for")));
        }
        let (runtime, digest) = (self.clone(), source.digest);
        blocking(move || {
            let found = runtime.cache().zip(runtime.machine().ok());
            Ok(found.and_then(|(cache, machine)| cache.load(&machine.engine, digest)))
        })
        .await
    }

    async fn compile(&self, source: &PluginSource, subject: Subject, progress: &Progress) -> Result<Vec<u8>> {
        let component = source.component()?;
        validate::check_component(&subject.to_string(), &component)?;
        let question = Question {
            about: &subject.to_string(),
            verb: "compiled",
            bounds: self.compiler_bounds(),
            answer: limits::COMPILED_BYTES,
            memory: Limit::CompileMemory,
            time: Limit::CompileTime,
            task: Task::Compile { subject },
        };
        let compiled = worker::ask(&self.options.worker, &question, &component, progress.cancellation()).await;
        if compiled.is_err() {
            self.refused.lock().unwrap_or_else(PoisonError::into_inner).insert(source.digest);
        }
        compiled
    }

    /// Whether the compiler has refused it, or given it up.
    pub(super) fn is_refused(&self, digest: Digest) -> bool {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).contains(&digest)
    }

    pub(super) fn compiler_bounds(&self) -> Bounds {
        let PluginSettings { compile_mib, compile_seconds, .. } = self.options.settings;
        Bounds { memory: Memory::Addresses(compile_mib.saturating_mul(1 << 20)), processor: compile_seconds }
    }
}

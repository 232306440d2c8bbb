//! What a plugin says about itself, and whether a configuration fits it: asked
//! of a process of its own, and kept.

use std::sync::Arc;

use serde_json::Value;

use super::cache::Note;
use super::catalog::PluginSource;
use super::description::{self, Description, Noted, Said};
use super::limits::{self, CallLimits, FAILURE_MESSAGE};
use super::subject::Subject;
use super::worker::{self, Fitting, Question, Task};
use super::{Runtime, subject_of, text};
use base::digest::Digest;
use base::error::{Class, Error, Result};
use base::progress::Progress;
use config::limits::Limit;
use confine::alone::{Bounds, Memory};

/// What the host may tell a step beside its own configuration.
pub(super) const PROVIDED: [&str; 10] = [
    "package",
    "architecture",
    "force_regenerate",
    "strict_images",
    "plugins",
    "format",
    "contributions",
    "sbom",
    "discover",
    "api_versions",
];

impl Runtime {
    /// What a plugin says about itself. Kept by its digest.
    ///
    /// # Errors
    /// `plugin` where it traps, is no step, describes itself badly or at too
    /// great a length.
    pub async fn describe(self: &Arc<Self>, source: &PluginSource, progress: &Progress) -> Result<Description> {
        let subject = subject_of(source, None);
        let kib = self.options.settings.schema_kib;
        let known = self.cache().and_then(|cache| cache.note::<Noted>(Note::Description, source.digest));
        if let Some(noted) = known {
            return noted.within(&subject.to_string(), kib);
        }
        let said = self.ask_what_it_is(source, &subject, progress).await?;
        description::check_size(&subject.to_string(), description::size(&said), kib)?;
        let noted = Noted::new(&subject.to_string(), said)?;
        if let Some(cache) = self.cache() {
            cache.keep_note(Note::Description, source.digest, &noted);
        }
        noted.within(&subject.to_string(), kib)
    }

    /// What a plugin with this digest said about itself when it was last asked,
    /// where that is still known.
    pub fn described(&self, digest: Digest) -> Option<Description> {
        let noted = self.cache()?.note::<Noted>(Note::Description, digest)?;
        noted.within("plugin", self.options.settings.schema_kib).ok()
    }

    async fn ask_what_it_is(
        self: &Arc<Self>,
        source: &PluginSource,
        subject: &Subject,
        progress: &Progress,
    ) -> Result<Said> {
        let code = self.compiled(source, progress).await?.into_bytes();
        let code = code.map_err(|error| Error::local(format!("cannot read the code of {subject}")).caused_by(error))?;
        let settings = self.options.settings.clone();
        let own = source.limits;
        let memory = CallLimits::describe(&settings, own).memory as u64;
        let memory = memory.saturating_add(2 * code.len() as u64).saturating_add(limits::DESCRIBE_BYTES);
        let question = Question {
            about: &subject.to_string(),
            verb: "described",
            bounds: Bounds { memory: Memory::Writable(memory), processor: settings.compile_seconds },
            // As JSON every byte may take six.
            answer: settings.schema_kib.saturating_mul(6 << 10).saturating_add(1 << 20),
            memory: Limit::Memory,
            time: Limit::CompileTime,
            task: Task::Describe { subject: subject.clone(), settings, own },
        };
        let answer = worker::ask(&self.options.worker, &question, &code, progress.cancellation()).await?;
        serde_json::from_slice(&answer)
            .map_err(|error| Error::new(Class::Plugin, format!("{subject} describes itself badly")).caused_by(error))
    }

    /// What of a step's own configuration does not fit its plugin's schema. The
    /// verdict is kept by all that it depends on.
    ///
    /// # Errors
    /// `plugin` where a limit was met, `local`.
    pub async fn misfits(
        &self,
        source: &PluginSource,
        description: &Description,
        configuration: Value,
        progress: &Progress,
    ) -> Result<Vec<String>> {
        let fitting = Fitting {
            schema: description.configuration_schema.to_string(),
            configuration: configuration.to_string(),
            provided: PROVIDED.map(str::to_owned).into(),
        };
        let asked = serde_json::to_vec(&fitting)
            .map_err(|error| Error::local("a configuration can not be written as JSON").caused_by(error))?;
        // The engine has no part in it; this version's rules have.
        let key = Digest::of(&[env!("CARGO_PKG_VERSION").as_bytes(), b"\n", &asked].concat());
        if let Some(known) = self.cache().and_then(|cache| cache.note(Note::Fit, key)) {
            return Ok(known);
        }
        let about = format!("the schema of {}", subject_of(source, None));
        let question = Question {
            about: &about,
            verb: "compared with the configuration",
            task: Task::Check,
            answer: limits::FIT_BYTES,
            bounds: self.compiler_bounds(),
            memory: Limit::CompileMemory,
            time: Limit::CompileTime,
        };
        let answer = worker::ask(&self.options.worker, &question, &asked, progress.cancellation()).await?;
        let told: Vec<String> = serde_json::from_slice(&answer)
            .map_err(|error| Error::new(Class::Plugin, format!("{about} can not be used")).caused_by(error))?;
        let misfits: Vec<String> = told.iter().map(|misfit| text::line(misfit, FAILURE_MESSAGE)).collect();
        if let Some(cache) = self.cache() {
            cache.keep_note(Note::Fit, key, &misfits);
        }
        Ok(misfits)
    }
}

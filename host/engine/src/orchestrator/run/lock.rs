//! airgap.lock while a run goes on: when it is written, and what goes from it.
//!
//! A step that resolved something publishes the lock with its commit. What a
//! failed attempt resolved is written when it ends, and once everything is
//! done what nothing names any more goes. The state announces each new text
//! before it is written, so that no kill makes the lock look edited.
//!
//! A build belongs to one lock. One that somebody else wrote meanwhile, a
//! `git pull` for example, is kept as it is, and the run ends with `changed`
//! where it would have written its own.

use super::{Run, log};
use crate::orchestrator::listed::in_memory;
use crate::orchestrator::needs;
use crate::orchestrator::needs::Useless;
use crate::orchestrator::report::RunError;
use crate::state::BuildState;
use base::digest::Digest;
use base::error::{Class, Error, Result};
use base::progress::Level;
use config::airgap_lock::{AirgapLock, LockChange};
use config::lock_names::Names;
use config::runners::Runners;
use config::source::Source;
use config::{Project, hash, lock_doubts, written};
use fetch::shared_lock::SharedLock;

/// Continues "was saved by somebody else while".
pub(super) const WHILE_BUILDING: &str = "the build went on with what it said before";

impl Run {
    /// The text of the lock where this run changed it. Its time is the start
    /// of the build that began it, or of the last `update` that changed it:
    /// what is added in between does not move the build's clock. An entry that
    /// was to be resolved again and was not yet stays as it was.
    pub(super) fn changed_lock(&self) -> Result<Option<String>> {
        if self.lock.is_frozen() {
            return Ok(None);
        }
        let (on_disk, is_ours) = self.lock_as_it_lies()?;
        let mut merged = on_disk.clone();
        merged.absorb(&self.lock.lock());
        if merged == on_disk {
            return Ok(None);
        }
        if !is_ours {
            return Err(written::was_saved(&self.session.project.layout.airgap_lock(), WHILE_BUILDING));
        }
        let begun = || self.session.state.get().map(|state| state.created_at);
        merged.resolved_at = match self.options.refresh {
            None => on_disk.resolved_at.or_else(begun),
            Some(_) => Some(self.started_at),
        };
        Ok(Some(merged.to_text()))
    }

    /// The lock on the disk, and whether it is what this run read or wrote.
    fn lock_as_it_lies(&self) -> Result<(AirgapLock, bool)> {
        match Source::read(&self.session.project.layout.airgap_lock())? {
            None => Ok((AirgapLock::default(), true)),
            Some(source) => Ok((AirgapLock::parse(&source)?, source.digest == self.lock_on_disk)),
        }
    }

    /// What a build itself writes into the lock is not a change: the state
    /// knows it before it is written.
    pub(super) fn announce_lock(&mut self, text: &str) -> Result<()> {
        let digest = hash::file_digest(hash::AIRGAP_LOCK, text.as_bytes());
        let now = self.now();
        self.session.state.update(now, |state| {
            if state.configuration.is_some() {
                state.next_lock = Some(digest);
            }
        })?;
        self.lock.announce(text)?;
        disk::fs::checkpoint("lock-announced");
        Ok(())
    }

    /// airgap.lock lies there with all that was known when it was written.
    pub(super) fn lock_was_written(&self) -> Result<()> {
        self.lock.was_written(&AirgapLock::load(&self.session.project.layout.airgap_lock())?)
    }

    /// What a failed attempt resolved stays resolved. Where somebody else wrote
    /// the lock, nothing more begins, and the report says so once: `failed` is
    /// what will be told anyway.
    pub(super) fn keep_resolved(&mut self, failed: Option<&Error>) -> Result<()> {
        let kept = self.changed_lock().and_then(|text| text.map_or(Ok(()), |text| self.write_lock(&text)));
        match kept {
            Err(error) if error.class() == Class::Changed => {
                let is_told = failed.is_some_and(|failed| failed.class() == Class::Changed);
                if !std::mem::replace(&mut self.is_over, true) && !is_told {
                    self.errors.push(RunError::of_the_run(error));
                }
                Ok(())
            }
            other => other,
        }
    }

    /// Once every step is done, or an update has ended well, nothing stays in
    /// the lock that the configuration does not name. Nothing is resolved by
    /// that, so the time of resolution stays.
    pub(super) fn tidy_lock(&mut self) -> Result<()> {
        let is_finished = self.session.state.get().is_some_and(BuildState::is_finished);
        let is_updated = self.options.refresh.is_some() && self.book.is_finished();
        if !self.errors.is_empty() || !(is_finished || is_updated) {
            return Ok(());
        }
        let Some(components) = self.components()? else { return Ok(()) };
        let project = self.session.project.clone();
        let runners = Runners::of(&project);
        let names =
            Names::new(&components, &project.of_architectures(), runners.clone()).with_skeletons(&project.skeletons());
        if self.options.locked {
            let useless =
                Useless { unnamed: self.lock.unnamed(&names), doubted: self.lock.doubts(&components, &runners) };
            let refused = self.plan.is_whole().then(|| needs::drift(&[], &useless)).flatten();
            return refused.map_or(Ok(()), Err);
        }
        // The next build goes by what somebody else wrote, and tidies it.
        let (mut lock, is_ours) = self.lock_as_it_lies()?;
        let unnamed = lock.unnamed(&names);
        if unnamed.is_empty() || !is_ours {
            return Ok(());
        }
        lock.prune(&names);
        self.lock.prune(&names);
        self.write_lock(&lock.to_text())?;
        log(self.environment.observer.as_ref(), Level::Info, dropped(&unnamed));
        Ok(())
    }

    /// Writes the lock outside of a step's commit.
    fn write_lock(&mut self, text: &str) -> Result<()> {
        self.announce_lock(text)?;
        let layout = &self.session.project.layout;
        written::replace(layout, &layout.airgap_lock(), self.lock_on_disk, text.as_bytes())?;
        self.lock_on_disk = Some(Digest::of(text.as_bytes()));
        let now = self.now();
        self.session.state.update(now, BuildState::lock_written)?;
        self.lock_was_written()
    }
}

/// What a run says before it begins: what was chosen and means nothing, and of the
/// lock what it resolves again, and what was told two askers differently.
pub(super) fn warnings(project: &Project, lock: &SharedLock) -> Result<Vec<String>> {
    let doubted = lock.doubts(&in_memory(project)?, &Runners::of(project));
    let again = if lock.is_frozen() { None } else { lock_doubts::warning(&doubted) };
    let contradictions = lock.lock().contradictions();
    Ok(project.unused().iter().cloned().chain(again).chain(contradictions).collect())
}

/// What went from the lock, in one line.
fn dropped(unnamed: &[LockChange]) -> String {
    const SHOWN: usize = 10;
    let mut keys: Vec<String> = unnamed.iter().take(SHOWN).map(LockChange::entry).collect();
    if unnamed.len() > SHOWN {
        keys.push(format!("and {} more", unnamed.len() - SHOWN));
    }
    format!("dropped from {}, because nothing names it: {}", hash::AIRGAP_LOCK, keys.join(", "))
}

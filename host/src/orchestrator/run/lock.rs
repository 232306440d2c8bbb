//! airgap.lock while a run goes on: when it is written, and what goes from it.
//!
//! A step that resolved something publishes the lock with its commit. What a
//! failed attempt resolved is written when it ends, and once everything is
//! done what nothing names any more goes. The state announces each new text
//! before it is written, so that no kill makes the lock look edited.

use super::{Run, log};
use crate::config::Project;
use crate::config::airgap_lock::{AirgapLock, LockChange};
use crate::config::hash;
use crate::config::lock_doubts;
use crate::config::lock_names::Names;
use crate::config::shared_lock::SharedLock;
use crate::entitlement::Runners;
use crate::error::Result;
use crate::orchestrator::needs::{self, Useless};
use crate::orchestrator::preview::in_memory;
use crate::progress::Level;
use crate::state::BuildState;

impl Run {
    /// The text of the lock where this run changed it. Its time is the start
    /// of the build that began it, or of the last `update` that changed it:
    /// what is added in between does not move the build's clock. An entry that
    /// was to be resolved again and was not yet stays as it was.
    pub(super) fn changed_lock(&self) -> Result<Option<String>> {
        let on_disk = AirgapLock::load(&self.session.project.layout.airgap_lock())?;
        let mut merged = on_disk.clone();
        merged.absorb(&self.lock.lock());
        if merged == on_disk {
            return Ok(None);
        }
        let begun = || self.session.state.get().map(|state| state.created_at.clone());
        merged.resolved_at = match self.options.refresh.is_empty() {
            true => on_disk.resolved_at.or_else(begun),
            false => Some(self.started_at.clone()),
        };
        Ok(Some(merged.to_text()))
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
        crate::fs::checkpoint("lock-announced");
        Ok(())
    }

    /// airgap.lock lies there with all that was known when it was written.
    pub(super) fn lock_was_written(&self) -> Result<()> {
        self.lock.was_written(&AirgapLock::load(&self.session.project.layout.airgap_lock())?)
    }

    /// What a failed attempt resolved stays resolved.
    pub(super) fn keep_resolved(&mut self) -> Result<()> {
        let text = self.changed_lock()?;
        text.map_or(Ok(()), |text| self.write_lock(&text))
    }

    /// Once every step is done, or an update has ended well, nothing stays in
    /// the lock that the configuration does not name. Nothing is resolved by
    /// that, so the time of resolution stays.
    pub(super) fn tidy_lock(&mut self) -> Result<()> {
        let is_finished = self.session.state.get().is_some_and(BuildState::is_finished);
        let is_updated = !self.options.refresh.is_empty() && self.finished();
        if !self.errors.is_empty() || !(is_finished || is_updated) {
            return Ok(());
        }
        let Some(components) = self.components()? else { return Ok(()) };
        let project = self.session.project.clone();
        let names = Names::new(&components, project.components.as_ref(), Runners::of(&project));
        let mut lock = AirgapLock::load(&project.layout.airgap_lock())?;
        let unnamed = lock.unnamed(&names);
        if self.options.locked {
            let useless = Useless { unnamed, doubted: self.lock.doubted(&components).entries() };
            let refused = self.plan.is_whole().then(|| needs::drift(&[], &useless)).flatten();
            return refused.map_or(Ok(()), Err);
        }
        if unnamed.is_empty() {
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
        crate::fs::write_atomic(&self.session.project.layout.airgap_lock(), text.as_bytes())?;
        let now = self.now();
        self.session.state.update(now, BuildState::lock_written)?;
        self.lock_was_written()
    }
}

/// What a run says of the lock before it begins: what it resolves again, and
/// what was told two askers differently.
pub(super) fn warnings(project: &Project, lock: &SharedLock) -> Result<Vec<String>> {
    let doubted = lock.doubted(&in_memory(project)?);
    let again = if lock.is_frozen() { None } else { lock_doubts::warning(&doubted) };
    let contradictions = lock.lock().contradictions();
    Ok(again.into_iter().chain(contradictions).collect())
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

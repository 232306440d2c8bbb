//! What the host does for one call, against the clock.
//!
//! A guest's computing has a limit of its own (see `call`). What the host works
//! for it, and how long the call takes in all, is counted here: shared by
//! everything that works for the call, on whatever thread. Waiting for the
//! network is the network's, and only the limit of the whole call ends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::limits::CallLimits;
use super::stop::Stop;
use super::subject::Subject;
use base::error::{Error, Result};
use base::leash::Leash;
use config::limits::Limit;

/// Cheap to clone; all clones count together.
#[derive(Clone, Debug)]
pub(super) struct HostTime(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cancel: CancellationToken,
    /// None where the call may take as long as it likes.
    ends: Option<Instant>,
    limit: Duration,
    /// Nanoseconds.
    worked: AtomicU64,
    too_long: Error,
    too_much: Error,
}

impl HostTime {
    /// The call begins now.
    pub(super) fn new(subject: &Subject, limits: &CallLimits, cancel: CancellationToken) -> Self {
        let host = limits.host.as_secs();
        Self(Arc::new(Inner {
            cancel,
            ends: Instant::now().checked_add(limits.step),
            limit: limits.host,
            worked: AtomicU64::new(0),
            too_long: limits.too_long(subject),
            too_much: Limit::HostTime
                .exceeded(format!("{subject} kept the host busy for longer than its limit of {host} s")),
        }))
    }

    /// The host has worked for so long.
    pub(super) fn spend(&self, spent: Duration) {
        let nanos = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX);
        self.0.worked.fetch_add(nanos, Ordering::Relaxed);
    }

    /// The same since `started`.
    ///
    /// # Errors
    /// Stops the call where a limit is used up.
    pub(super) fn worked(&self, started: Instant) -> std::result::Result<(), Stop> {
        self.spend(started.elapsed());
        self.check().map_err(Stop::Host)
    }

    /// Cheap: each act on a file asks.
    ///
    /// # Errors
    /// `plugin` where a limit is used up, `interrupted`.
    pub(super) fn check(&self) -> Result<()> {
        let Inner { cancel, ends, limit, worked, too_long, too_much } = &*self.0;
        if cancel.is_cancelled() {
            return Err(Error::interrupted());
        }
        if Duration::from_nanos(worked.load(Ordering::Relaxed)) >= *limit {
            return Err(too_much.clone());
        }
        match ends {
            Some(when) if Instant::now() >= *when => Err(too_long.clone()),
            _ => Ok(()),
        }
    }

    /// For work that begins now.
    pub(super) fn leash(&self) -> Leash {
        let Inner { cancel, ends, limit, worked, too_long, too_much } = &*self.0;
        let left = limit.saturating_sub(Duration::from_nanos(worked.load(Ordering::Relaxed)));
        let mut leash = Leash::new(cancel.clone());
        if let Some(when) = Instant::now().checked_add(left) {
            leash = leash.until(when, too_much.clone());
        }
        match ends {
            Some(when) => leash.until(*when, too_long.clone()),
            None => leash,
        }
    }

    /// Returns when the call has taken too long.
    pub(super) async fn end(&self) -> Error {
        match self.0.ends {
            Some(when) => tokio::time::sleep_until(when.into()).await,
            None => std::future::pending().await,
        }
        self.0.too_long.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::digest::Digest;
    use base::error::Class;
    use config::limits::{OwnLimits, PluginSettings};

    fn time(step: u64, host: u64) -> HostTime {
        let subject = Subject {
            step: Some("s".into()),
            plugin: "p".into(),
            version: "1".into(),
            digest: Digest::of(b""),
            is_core: false,
        };
        let settings = PluginSettings { step_limit: step, host_limit: host, ..PluginSettings::default() };
        HostTime::new(&subject, &CallLimits::new(&settings, OwnLimits::default()), CancellationToken::new())
    }

    #[test]
    fn work_of_all_clones_counts_and_the_refusal_names_its_limit() {
        let time = time(100, 2);
        time.clone().spend(Duration::from_millis(1900));
        assert!(time.check().is_ok() && time.leash().check().is_ok());
        time.spend(Duration::from_millis(200));
        let error = time.check().unwrap_err();
        assert_eq!(error.class(), Class::Plugin);
        assert!(error.message().starts_with("plugin p 1 (sha256:"), "{error}");
        assert!(
            error
                .message()
                .contains("in step s kept the host busy for longer than its limit of 2 s (`plugins.host_limit`)"),
            "{error}"
        );
    }

    #[test]
    fn a_call_ends_however_little_was_done() {
        let error = time(0, 100).check().unwrap_err();
        assert!(error.message().contains("took longer than its limit of 0 s (`plugins.step_limit`)"), "{error}");
        let declared = CallLimits::new(&PluginSettings::default(), OwnLimits::default()).within(Some(Duration::ZERO));
        let error = declared.too_long("it");
        assert_eq!(error.message(), "it took longer than its limit of 0 s (`timeout` of the step)");
        assert!(error.hint_text().unwrap().contains("config/pipeline.yaml"));
    }
}

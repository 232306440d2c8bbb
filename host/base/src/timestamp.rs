//! Times as they are written down.

use jiff::Timestamp;

/// A time as state.json, the lock and the logs write it: whole seconds, UTC.
pub fn rfc3339(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

//! Why the host ends a call.

use base::error::Error;

/// The host ended the call. Travels through wasmtime as an error.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Stop {
    #[error("the user asked to stop")]
    Interrupted,
    #[error("the time limit is used up")]
    Deadline,
    #[error("too much was printed")]
    ConsoleFlood,
    /// Something of the host failed that the guest can do nothing about.
    #[error("{0}")]
    Host(Error),
    #[error("`describe` may call nothing but `host.log`, and called `{0}`")]
    NotInDescribe(&'static str),
}

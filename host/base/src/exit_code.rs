//! The public list of exit codes, and the one place that picks them.

use crate::error::{Class, Error};

/// What the process ends with. Documented in README.md and `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Everything was done.
    Done = 0,
    /// Something failed, and running the same command again will not help.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The configuration is invalid, or changed since the build began.
    Configuration = 3,
    /// The recorded state can not be read, or a package is damaged.
    Unreadable = 4,
    /// Another process holds the build.
    Held = 5,
    /// Stopped with the work kept; running the same command again resumes.
    Resumable = 75,
    /// SIGINT; the work is kept.
    Interrupted = 130,
    /// SIGTERM; the work is kept.
    Terminated = 143,
}

impl ExitCode {
    /// The code of one error. An interruption is SIGINT's here; the command
    /// line knows when it was SIGTERM.
    pub fn of(class: Class) -> Self {
        match class {
            Class::Transient | Class::RateLimited | Class::DiskFull => Self::Resumable,
            Class::Auth | Class::NotFound | Class::Integrity | Class::InvalidInput | Class::Plugin | Class::Local => {
                Self::Failed
            }
            Class::Interrupted => Self::Interrupted,
            Class::Configuration | Class::Changed => Self::Configuration,
            Class::State => Self::Unreadable,
            Class::Held => Self::Held,
            Class::Usage => Self::Usage,
        }
    }

    /// The code of several failures at once: an interruption first, then what
    /// a rerun can not mend, then what it can.
    pub fn of_all<'a>(errors: impl IntoIterator<Item = &'a Error>) -> Self {
        errors.into_iter().map(|error| Self::of(error.class())).max_by_key(|code| code.weight()).unwrap_or(Self::Done)
    }

    fn weight(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Resumable => 1,
            Self::Failed => 2,
            Self::Usage => 3,
            Self::Configuration => 4,
            Self::Unreadable => 5,
            Self::Held => 6,
            Self::Interrupted | Self::Terminated => 7,
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        (code as u8).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_permanent_failure_among_recoverable_ones_decides() {
        let errors = [Error::transient("a"), Error::new(Class::NotFound, "b"), Error::new(Class::DiskFull, "c")];
        assert_eq!(ExitCode::of_all(&errors), ExitCode::Failed);
        assert_eq!(ExitCode::of_all(&errors[..1]), ExitCode::Resumable);
        assert_eq!(ExitCode::of_all(&[]), ExitCode::Done);
    }
}

//! The `files` step.

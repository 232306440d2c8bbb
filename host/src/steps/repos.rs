//! The `repos` step.

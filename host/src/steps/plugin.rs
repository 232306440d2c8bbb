//! The `plugin` step.

//! The `images` step.

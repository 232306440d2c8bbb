//! The state of a build: what is done, what failed, what was under way.
//!
//! [`mod@format`] is what state.json holds, [`store`] reads it and writes it under
//! the lock of [`lock`], and [`journal`] keeps the items of a running attempt,
//! so that their cost does not grow with their number.

pub mod format;
pub mod journal;
pub mod lock;
pub mod store;

pub use format::{BuildState, Status, StepState};
pub use store::{ExclusiveState, read};

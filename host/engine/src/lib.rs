//! The build: [`orchestrator`] plans the steps, wraps each attempt in a
//! [`transaction`], and records what happened through [`state`]; [`steps`] do
//! the work. [`imports`] brings what the definition imports before any of it, for
//! nobody knows what is to be built without. [`carry`] lays what was built, with all that is needed to use it, into
//! one folder.

pub mod carry;
pub mod imports;
pub mod orchestrator;
pub mod state;
mod steps;
pub mod transaction;

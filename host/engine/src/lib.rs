//! The build: [`orchestrator`] plans the steps, wraps each attempt in a
//! [`transaction`], and records what happened through [`state`]; [`steps`] do
//! the work.

pub mod orchestrator;
pub mod state;
mod steps;
pub mod transaction;

//! Runs the pipeline: which steps, when, and what happens when one fails.
//!
//! 1. [`session`] opens a build: takes the lock, recovers what the last
//!    process left open, compares the configuration with the one the build
//!    began with, and begins a new build where there is none.
//! 2. [`plan`] says which steps run and why, from the [`facts`] that
//!    [`outputs`] and the state provide.
//! 3. [`run`] starts every step whose needs are met, each attempt in one
//!    transaction, and asks [`decide`] what to do with a failure.
//! 4. [`report`] is what came of it.
//!
//! Beside that stands what looks ahead: [`needs`] lists what a configuration
//! needs and what of it is there, [`preflight`] whether the disk has room for
//! it ([`room`] asks again later), [`preview`] what a build would do
//! with the components that `listed` names,
//! [`refresh`] what an update resolves again, and [`garbage`] what `gc` may
//! drop. [`known_lock`] tells which entry of a changed lock changed, [`aside`]
//! runs a plugin outside of any build.
//!
//! `plan`, `decide`, `needs` and `refresh` do no I/O.

pub mod aside;
pub mod decide;
pub mod facts;
pub mod garbage;
pub mod known_lock;
pub(crate) mod listed;
pub mod needs;
pub mod outputs;
pub mod plan;
pub(crate) mod preflight;
pub mod preview;
pub mod refresh;
pub mod report;
pub mod room;
pub mod run;
pub mod session;

pub use config::pipeline::{CONFIG, MANIFESTS};

//! What comes from outside, and what is kept of it.
//!
//! [`network`] is the only place that opens sockets, and [`git`] runs the
//! program that opens its own. What they bring is verified and goes into the
//! [`store`]; what was [`seen`] is entered in the [`shared_lock`], and only that. A
//! plugin reaches all three over its [`desk`], which asks its entitlement first;
//! how it comes to be pinned itself is [`component`]'s business. What a definition
//! imports from a registry comes by way of [`skeleton`].

pub mod component;
pub mod desk;
pub mod git;
pub mod network;
pub mod seen;
pub mod shared_lock;
pub mod skeleton;
pub mod store;

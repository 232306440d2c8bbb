//! The operating system's walls around what third parties wrote.
//!
//! wasmtime is the first wall: a guest reaches what it was handed and nothing
//! else. What stands here holds where wasmtime, its compiler or the host has a
//! fault.
//!
//! - [`alone`] is for the process that compiles and describes plugins
//!   (`plugin::worker`): it keeps its three pipes, some memory and some time.
//! - [`wall`] is for the host itself, before the first third-party plugin is
//!   compiled or run: it writes, executes and connects only where a build has
//!   to. [`ports`] finds the ports that a configuration names.

pub mod alone;
mod calls;
mod executable;
pub mod ports;
pub mod wall;

//! The engine of `opencenter-airgap`.
//!
//! `cli` reads the command line and the environment, loads a project through
//! `config`, and hands both to `orchestrator`, which plans the steps, wraps
//! each attempt in a `transaction`, and records what happened through `state`.
//! `steps` do the work: they fetch through `network` into `store`, run
//! components through `plugin`, and pack through `archive`. Everything that
//! happens is told to `progress`. See ARCHITECTURE.md for the map.

pub mod archive;
pub mod cli;
pub mod config;
pub mod confine;
pub mod digest;
pub mod entitlement;
pub mod error;
pub mod exit_code;
pub mod fs;
pub mod git;
pub mod grants;
pub mod inspect;
pub mod layout;
pub mod leash;
pub mod network;
pub mod orchestrator;
pub mod plugin;
pub mod progress;
pub mod push;
pub mod reference;
pub mod serve;
pub mod state;
pub mod steps;
pub mod store;
pub mod text;
pub mod transaction;
pub mod tree;
pub mod verify;
pub mod visible;

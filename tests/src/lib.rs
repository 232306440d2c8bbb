//! What the tests of the product stand on; it shares no code with the host.
//!
//! [`project`] runs the real binary in a folder of its own; [`registry`],
//! [`file_server`] and [`git_server`] are servers on loopback whose every
//! answer a test can spoil through [`fault`]; [`images`] makes real container
//! images, [`step_component`] components that no compiler makes; [`tools`] starts other people's programs, [`clock`] sets
//! the time for ours. [`platform`] is one of
//! everything, ready to be packaged; [`stand_ins`] serve whatever a
//! components.yaml names; [`serving`] is our own server.

pub mod authored;
pub mod charts;
pub mod checker;
pub mod clock;
pub mod components;
pub mod digest;
pub mod fault;
pub mod file_server;
pub mod git_server;
pub mod http;
pub mod images;
pub mod layout;
pub mod measure;
pub mod nodes;
pub mod outcome;
pub mod package;
pub mod pass_through;
pub mod platform;
pub mod project;
pub mod registry;
pub mod serving;
pub mod skeletons;
pub mod soak;
pub mod stand_ins;
pub mod step_component;
pub mod tls;
pub mod tools;
pub mod wasm;

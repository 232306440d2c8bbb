//! Guards the promise that a plugin holds what it was handed and nothing else,
//! as somebody would break it who knows the code: each test is one way to get
//! more, tried by a hostile guest (`tests/guests/examples/attacker.rs`) through
//! the whole binary. `docs/sandbox.md` says which promise each of them guards.
//!
//! Every attack runs in a namespace of its own, see [`arena`].

mod arena;
mod attack;
mod bombs;
mod compiling;
mod inside;
mod limits;
mod names;
mod network;
mod pins;
mod planted;
mod promises;
mod rights;

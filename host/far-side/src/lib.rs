//! A finished package, where it arrives: [`verify`] holds it to every rule of its
//! format, [`inspect`] tells what is in it, [`serve`] gives it out as it is, and
//! [`push`] sends it to a registry.

pub mod inspect;
pub mod push;
pub mod serve;
pub mod verify;

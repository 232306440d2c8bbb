//! A finished package, read where it arrives: [`verify`] holds it to every rule
//! of its format, [`inspect`] tells what is in it.

pub mod inspect;
pub mod verify;

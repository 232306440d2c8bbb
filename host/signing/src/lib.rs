//! Keys and signatures, as cosign and Zarf write and read them.
//!
//! [`key`] reads and writes keys: P-256, the private one encrypted with a
//! password. [`bundle`] is what a signature is written as today, a Sigstore
//! bundle over bytes or over a [`statement`]; [`legacy`] what it was before, and
//! [`image`] either of them as it is found beside an image.
//! Nothing here asks anybody: a signature is checked with the public key that
//! the caller trusts, offline, without a transparency log. What a signature is
//! about the caller knows: a file, an image, a component of a plugin.
//!
//! The cryptography is that of the libraries p256, scrypt, salsa20 and poly1305,
//! which no other crate of the host knows.

pub mod bundle;
pub mod image;
pub mod key;
pub mod legacy;
mod secretbox;
pub mod statement;

pub use bundle::{Bundle, Signer};
pub use key::{Password, PrivateKey, PublicKey};

#[cfg(test)]
mod tests;

//! What every room of the host speaks: errors and exit codes, digests and image
//! references, where everything lies, how text is read and shown, and what is
//! told of progress. Nothing here touches a disk or a network.

pub mod carried;
pub mod digest;
pub mod error;
pub mod exit_code;
pub mod layout;
pub mod leash;
pub mod progress;
pub mod reference;
pub mod text;
pub mod timestamp;
pub mod visible;

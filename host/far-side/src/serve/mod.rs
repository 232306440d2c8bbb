//! What arrived, served from the file that was carried: nothing is unpacked, and
//! memory does not grow with what is served or with how many ask.
//!
//! [`library`] opens packages, each of which is a [`shelf`], and names what is in them: [`images`] and
//! [`charts`] for a registry, charts, [`files`] and git [`repositories`] by plain
//! HTTP. Each [`content`] is read by the archive's index and checked as it is
//! read. [`server`] takes connections, over [`tls`] where that is wanted, and
//! lets in whom [`access`] knows; a request's [`path`] leads to [`registry`] or
//! to one of the others, which give an [`answer`], whose [`body`] leaves piece by
//! piece and is written to the [`log`]. [`page`] is for people, in [`html`], and [`print`] says
//! how a node is told of the server.

mod access;
mod answer;
mod blob;
mod body;
mod charts;
mod content;
mod files;
mod html;
mod images;
mod library;
mod log;
mod page;
mod path;
mod print;
mod registry;
mod repositories;
mod server;
mod shelf;
mod tls;

pub use access::Users;
pub(crate) use blob::Blob;
pub(crate) use images::{Referrer, spelled_registry};
pub(crate) use library::Carried;
pub use library::Library;
pub use log::{Request, Totals, Watch};
pub use print::{Format, ServerAddress, configuration};
pub(crate) use repositories::Repository;
pub use server::{Server, Service};
pub use tls::{Identity, names};

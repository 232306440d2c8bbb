//! What the bundler needs of the host, as a trait, so that it runs in tests.

use std::io::Read;

use sdk::fetch::{FetchError, Request};
use sdk::{Artifact, StepError};

use chart_loader::directory::Files;

/// The host's services. Every `StepError` that a method returns by itself
/// ends the step; what concerns one item is in the item's result.
pub trait Host {
    fn fetch(&self, requests: &[Request]) -> Result<Vec<Result<Artifact, FetchError>>, StepError>;
    fn tags(&self, repository: &str, limit: u32) -> Result<Vec<String>, FetchError>;
    /// A file of the output.
    fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, StepError>;
    /// The same as a stream.
    fn open(&self, path: &str) -> Result<Box<dyn Read + '_>, StepError>;
    fn write(&self, path: &str, content: &[u8]) -> Result<Artifact, StepError>;
    fn remove(&self, path: &str) -> Result<(), StepError>;
    /// A local directory or file, by its path relative to the project.
    fn local(&self, path: &str) -> Option<Box<dyn Files + '_>>;
    /// The keys that earlier attempts marked.
    fn done(&self) -> Vec<String>;
    fn mark(&self, key: &str, paths: &[String]) -> Result<(), StepError>;
    fn info(&self, message: &str);
    fn warn(&self, message: &str);
    fn progress(&self, done: u64, total: u64, message: &str) -> Result<(), StepError>;
}

//! What the bundler needs of the host, as a trait, so that it runs in tests.

use std::io::Read;

use sdk::fetch::{FetchError, Request};
use sdk::{Artifact, StepError};

use chart_loader::directory::Files;

/// The host's services. Every `StepError` that a method returns by itself
/// ends the step; what concerns one item is in the item's result.
pub trait Host {
    /// What lies at each address, into the output: in the order of the requests.
    fn fetch(&self, requests: &[Request]) -> Result<Vec<Result<Artifact, FetchError>>, StepError>;
    /// The tags of a repository in a registry, at most `limit`.
    fn tags(&self, repository: &str, limit: u32) -> Result<Vec<String>, FetchError>;
    /// A file of the output.
    fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, StepError>;
    /// The same as a stream.
    fn open(&self, path: &str) -> Result<Box<dyn Read + '_>, StepError>;
    /// A file into the output; one that is there is replaced.
    fn write(&self, path: &str, content: &[u8]) -> Result<Artifact, StepError>;
    /// Takes a file out of the output again.
    fn remove(&self, path: &str) -> Result<(), StepError>;
    /// A local directory or file, by its path relative to the project.
    fn local(&self, path: &str) -> Option<Box<dyn Files + '_>>;
    /// The keys that earlier attempts marked.
    fn done(&self) -> Vec<String>;
    /// Marks `paths` of the output as finished: a later attempt of the step finds them, and
    /// `key` among what is done.
    fn mark(&self, key: &str, paths: &[String]) -> Result<(), StepError>;
    /// A line for the build's log.
    fn info(&self, message: &str);
    /// The same, shown again at the end of the build.
    fn warn(&self, message: &str);
    /// `done` of `total` charts are finished; an error where the step is to stop.
    fn progress(&self, done: u64, total: u64, message: &str) -> Result<(), StepError>;
}

//! What a step may call: one file per interface of the WIT.

use super::bindings::Refusal;
use super::bindings::types;
use super::call::Call;

mod archives;
mod checkpoint;
mod fetch;
mod host;
mod layers;
mod outputs;
mod trees;

type Answer<T> = std::result::Result<T, Refusal>;

impl types::Host for Call {
    fn convert_step_error(&mut self, refusal: Refusal) -> wasmtime::Result<types::StepError> {
        refusal.into_step_error()
    }
}

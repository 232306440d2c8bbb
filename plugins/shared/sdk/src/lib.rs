//! Write a build step of `opencenter-airgap` in some twenty lines.
//!
//! A step is a type that implements [`Step`], exported with [`export_step!`]:
//!
//! ```
//! use sdk::{Context, Inputs, Sink, Step, StepError, Summary};
//!
//! /// Becomes the JSON Schema of the step's configuration.
//! #[derive(serde::Deserialize, sdk::JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! #[schemars(crate = "sdk::schemars")]
//! struct Configuration {
//!     greeting: String,
//! }
//!
//! struct Hello;
//!
//! impl Step for Hello {
//!     type Configuration = Configuration;
//!     const NAME: &'static str = "hello";
//!     const SUMMARY: &'static str = "Writes a greeting";
//!
//!     fn run(cx: &Context, configuration: Configuration, _: &Inputs, output: &Sink) -> Result<Summary, StepError> {
//!         let text = format!("{} from {}\n", configuration.greeting, cx.step);
//!         output.write_text("hello.txt", &text)?;
//!         Ok(Summary::new(1, "greetings"))
//!     }
//! }
//!
//! sdk::export_step!(Hello);
//! # fn main() {}
//! ```
//!
//! Build it as a `cdylib` for `wasm32-wasip2`. On every other target
//! [`export_step!`] exports nothing, so the same crate is an ordinary library
//! (`crate-type = ["cdylib", "rlib"]`) whose logic has ordinary unit tests.
//! What calls the host ([`Inputs`], [`Sink`], [`log`], [`fetch`]…) works only
//! inside the host and panics elsewhere: convert at the edge, decide in plain
//! functions.
//!
//! # Configuration
//!
//! The host passes one JSON object: the step's `configuration` from
//! pipeline.yaml, and beside it what it tells every step ([`HOST_FIELDS`]).
//! A step that wants one of those declares a field of that name. Those that
//! [`Step::Configuration`] does not declare are taken out before it is
//! deserialised, so `#[serde(deny_unknown_fields)]` catches the user's typing
//! errors and nothing else.
//!
//! # Errors
//!
//! [`StepError`] converts with `?` from the errors of serde_json, serde_yaml,
//! I/O and downloads; its constructors say which kind of failure it is, and
//! the host decides by the kind: [`StepError::transient`] is tried again, all
//! others end the step. Return errors, never panic: a panic is reported as a
//! fault of the plugin, with its message and place. A step that works on many
//! things goes on past a bad one: [`Failures`] makes each a row of its own.
//!
//! # Memory
//!
//! A call has a memory budget (256 MiB unless the user raises it). Let bulk
//! bytes stay outside: [`Sink::link`] and [`archive`] move whole files without
//! reading them, [`Tree::reader`] and [`Sink::writer`] stream.

pub mod archive;
pub mod checkpoint;
mod error;
mod failures;
pub mod fetch;
pub mod formats;
mod host;
mod input;
pub mod layer;
mod output;
mod run;

/// What wit-bindgen makes of the WIT. Everything in it may be used directly.
#[allow(missing_docs, reason = "the WIT documents it")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "build-step",
        generate_all,
        pub_export_macro: true,
        default_bindings_module: "sdk::bindings",
        additional_derives: [PartialEq],
        additional_derives_ignore: ["named-tree", "stream-error"],
    });
}

pub use bindings::exports::opencenter::airgap::step::{Context, Description, NamedTree, Summary, Want};
pub use bindings::opencenter::airgap::outputs::Sink;
pub use bindings::opencenter::airgap::trees::{Entry, EntryKind, Tree};
pub use bindings::opencenter::airgap::types::{Artifact, Failure, ItemFailure, StepError};
pub use failures::Failures;
pub use host::{log, progress};
pub use input::{Inputs, Reader, TEXT_LIMIT};
pub use output::Writer;
pub use run::{HOST_FIELDS, parse_configuration};
#[doc(hidden)]
pub use run::{describe, run};
pub use schemars::{self, JsonSchema};
pub use serde;
use serde::de::DeserializeOwned;
pub use serde_json;
pub use serde_yaml;

/// A build step.
///
/// The host calls [`Step::run`] once per attempt, each time in a fresh
/// instance: nothing in memory survives. It may be repeated after any
/// failure, a kill included, and must give the same output for the same
/// input: no time but [`Context::epoch`], no order of a hash map.
pub trait Step {
    /// What `configuration` of the step in pipeline.yaml may hold. Use
    /// `serde_json::Value` for a step that takes anything.
    type Configuration: DeserializeOwned + JsonSchema;

    /// Lowercase letters, digits and `-`. What plugins.lock pins.
    const NAME: &'static str;
    /// The crate's version where it is empty.
    const VERSION: &'static str = "";
    /// One line for lists of plugins.
    const SUMMARY: &'static str;

    /// What the step would like to be allowed. The user grants it in
    /// plugins.lock, or not.
    fn wants() -> Vec<Want> {
        Vec::new()
    }

    /// Does the work.
    ///
    /// # Errors
    /// Every failure that the step knows of, with a message that names what
    /// failed and what was found.
    fn run(
        cx: &Context,
        configuration: Self::Configuration,
        inputs: &Inputs,
        output: &Sink,
    ) -> Result<Summary, StepError>;
}

impl Summary {
    /// `items` things called `unit` ("charts") were made.
    pub fn new(items: u64, unit: &str) -> Self {
        Self { message: format!("{items} {unit}"), items, unit: unit.to_owned() }
    }

    /// Replaces the text for the table at the end of the build.
    #[must_use]
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }
}

/// Makes a type that implements [`Step`] the export of this component. Use it
/// once, at the top of the crate.
#[macro_export]
macro_rules! export_step {
    ($step:ty) => {
        const _: () = {
            struct Exported;

            impl $crate::bindings::exports::opencenter::airgap::step::Guest for Exported {
                fn describe() -> $crate::Description {
                    $crate::describe::<$step>(env!("CARGO_PKG_VERSION"))
                }

                fn run(
                    context: $crate::Context,
                    configuration: String,
                    inputs: Vec<$crate::NamedTree>,
                    output: $crate::Sink,
                ) -> Result<$crate::Summary, $crate::StepError> {
                    $crate::run::<$step>(&context, &configuration, inputs, &output)
                }
            }

            // Elsewhere nothing is exported, but the step counts as used.
            #[cfg(not(target_family = "wasm"))]
            const _: fn() -> $crate::Description =
                <Exported as $crate::bindings::exports::opencenter::airgap::step::Guest>::describe;
            #[cfg(target_family = "wasm")]
    $crate::bindings::export!(Exported with_types_in $crate::bindings);
        };
    };
}

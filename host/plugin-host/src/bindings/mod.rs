//! What wasmtime makes of the WIT.

/// The step's output, of which there is one in a call.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct OutputSink;

mod refusal;

pub(super) use refusal::Refusal;

#[allow(unreachable_pub, clippy::allow_attributes_without_reason, reason = "generated code")]
mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "build-step",
        imports: { default: async | trappable },
        exports: { default: async },
        trappable_error_type: { "opencenter:airgap/types.step-error" => crate::bindings::Refusal },
        with: {
            "wasi:io": wasmtime_wasi::p2::bindings::io,
            "opencenter:airgap/trees.tree": crate::input::InputTree,
            "opencenter:airgap/outputs.sink": crate::bindings::OutputSink,
            "opencenter:airgap/archives.archive": crate::archive_handle::ArchiveHandle,
            "opencenter:airgap/layers.layer": crate::layer_handle::LayerHandle,
        },
    });
}

pub(super) use generated::exports::opencenter::airgap::step;
pub(super) use generated::opencenter::airgap::{archives, checkpoint, fetch, host, layers, outputs, trees, types};
pub(super) use generated::{BuildStep, BuildStepPre};

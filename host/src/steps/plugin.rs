//! A step that a plugin does.

use std::sync::Arc;

use super::{BoxFuture, Step, StepContext, StepOutcome, chart_lock};
use crate::config::airgap_lock::CHARTS;
use crate::config::pipeline::StepSpec;
use crate::error::Result;
use crate::plugin::catalog::PluginSource;
use crate::plugin::{Attempt, Runtime};

/// One step of the pipeline, and the plugin that does it.
#[derive(Debug)]
pub struct PluginStep {
    spec: StepSpec,
    source: PluginSource,
    runtime: Arc<Runtime>,
}

impl PluginStep {
    pub fn new(spec: StepSpec, source: PluginSource, runtime: Arc<Runtime>) -> Self {
        Self { spec, source, runtime }
    }
}

impl Step for PluginStep {
    fn run<'a>(&'a self, cx: &'a StepContext) -> BoxFuture<'a, Result<StepOutcome>> {
        Box::pin(async move {
            let attempt = Attempt::of(&self.spec.id, cx);
            let outcome = self.runtime.run(&self.source, &attempt).await?;
            if self.source.name == CHARTS {
                chart_lock::record(&cx.output, &attempt.means.desk(&self.source)?)?;
            }
            Ok(outcome)
        })
    }
}

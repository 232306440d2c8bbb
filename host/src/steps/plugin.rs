//! s
use super::*;
pub struct PluginStep;
impl PluginStep {
    pub fn new(
        _s: crate::config::pipeline::StepSpec,
        _p: crate::plugin::catalog::PluginSource,
        _r: Arc<crate::plugin::Runtime>,
    ) -> Self {
        Self
    }
}
impl Step for PluginStep {
    fn run<'a>(&'a self, _cx: &'a StepContext) -> BoxFuture<'a, Result<StepOutcome>> {
        Box::pin(async { Ok(StepOutcome::default()) })
    }
}

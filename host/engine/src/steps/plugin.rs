//! A step that a plugin does.

use std::sync::Arc;
use std::time::Duration;

use super::{BoxFuture, Step, StepContext, StepOutcome, chart_lock, seal};
use base::error::{Class, Error, Result};
use config::as_read::DEFINITION;
use config::core_plugins::{CHARTS, RENDER};
use config::pipeline::{MANIFESTS, StepSpec};
use config::publish;
use disk::fs;
use fetch::desk::Means;
use model::rendered::{RENDERED, TO_RENDER, ToRender};
use plugin_host::catalog::PluginSource;
use plugin_host::drift::Drift;
use plugin_host::{Asked, Attempt, Runtime};

/// One step of the pipeline, and the plugin that does it.
#[derive(Debug)]
pub(crate) struct PluginStep {
    spec: StepSpec,
    source: PluginSource,
    runtime: Arc<Runtime>,
}

impl PluginStep {
    pub(crate) fn new(spec: StepSpec, source: PluginSource, runtime: Arc<Runtime>) -> Self {
        Self { spec, source, runtime }
    }
}

impl Step for PluginStep {
    fn run<'a>(&'a self, cx: &'a StepContext) -> BoxFuture<'a, Result<StepOutcome>> {
        Box::pin(async move {
            if self.spec.runs(RENDER) && !to_render(cx)? {
                return nothing_to_render(cx);
            }
            let attempt = attempt(&self.spec, cx)?;
            let outcome = self.runtime.run(&self.source, &attempt).await;
            // What failed of it is listed as that of any other step is.
            let failed = outcome.as_ref().err().map(Error::items).unwrap_or_default();
            failed.iter().try_for_each(|item| cx.journal.failed(item))?;
            let outcome = outcome?;
            if self.spec.id == MANIFESTS && cx.project.defined.is_some() && cx.output.get(DEFINITION).is_none() {
                return Err(lost(&self.source.name));
            }
            if self.source.name == CHARTS {
                chart_lock::record(&cx.output, &attempt.means.desk(self.source.entitlement()?))?;
            }
            if publish::makes_package(&self.spec) {
                seal::seal(&self.spec, cx).await?;
            }
            Ok(outcome)
        })
    }
}

const LARGEST_LIST: u64 = 64 << 20;

/// Whether there is a chart to render: the plugin that does is large, and compiled
/// where it is needed.
fn to_render(cx: &StepContext) -> Result<bool> {
    for tree in cx.inputs.values().filter(|tree| tree.listing.get(TO_RENDER).is_some()) {
        let bytes = fs::read_optional(&tree.path_of(TO_RENDER), LARGEST_LIST)?.unwrap_or_default();
        let list: ToRender = serde_json::from_slice(&bytes)
            .map_err(|source| Error::invalid(format!("cannot read {TO_RENDER}")).caused_by(source))?;
        if !list.charts.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn nothing_to_render(cx: &StepContext) -> Result<StepOutcome> {
    cx.output.write(RENDERED, b"[]", false)?;
    Ok(StepOutcome { summary: "0 charts".to_owned(), items: 0, unit: "charts".to_owned() })
}

/// A package that lacks all that a definition names would be silently wrong.
fn lost(plugin: &str) -> Error {
    let message = format!("the plugin `{plugin}` hands on no `{DEFINITION}`, and the project has a package definition");
    Error::new(Class::Plugin, message)
        .hint("use the core plugin for this step, or remove `definition` from config/settings.yaml")
}

/// What a plugin is given of a step's attempt.
fn attempt(spec: &StepSpec, cx: &StepContext) -> Result<Attempt> {
    Ok(Attempt {
        step: spec.id.clone(),
        attempt: cx.attempt,
        epoch: cx.epoch,
        timeout: spec.timeout.map(Duration::from_secs),
        configuration: cx.plugin_configuration.clone(),
        trees: cx.inputs.clone(),
        output: cx.output.clone(),
        progress: cx.progress.clone(),
        means: Means::new(cx.store.clone(), cx.network.clone(), cx.lock.clone()),
        drift: Drift::default(),
        layout: cx.project.layout.clone(),
        named: cx.named.clone(),
        read: cx.project.read.clone(),
        largest_unpacked: cx.project.settings.security.largest_unpacked_gib.saturating_mul(1 << 30),
        local: cx.named.of_step(spec, &cx.project.read)?,
        asked: Asked::default(),
    })
}

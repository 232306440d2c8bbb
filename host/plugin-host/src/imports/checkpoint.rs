//! `checkpoint`: outputs that survive a failed attempt.

use std::collections::BTreeMap;

use super::Answer;
use crate::bindings::checkpoint::Host;
use crate::call::Call;
use crate::input::InputTree;
use crate::marks::Marks;
use base::digest::{Digest, Hasher};
use base::error::Result;
use base::leash::Leash;

impl Host for Call {
    async fn done(&mut self) -> wasmtime::Result<Vec<String>> {
        match self.marks().await {
            Ok(marks) => Ok(marks.keys().cloned().collect()),
            Err(refusal) => Err(refusal.into_error()),
        }
    }

    async fn mark(&mut self, key: String, paths: Vec<String>) -> Answer<()> {
        self.marks().await?;
        let work = self.work("checkpoint.mark")?;
        let (output, ledger, desk) = (work.cx.output.clone(), work.ledger.clone(), work.desk.clone());
        if let Some(mut marks) = work.marks.take() {
            let (result, marks) = self
                .blocking("checkpoint.mark", move |leash| {
                    // What is marked is not fetched again, so what it was
                    // made of must stay locked.
                    let result = desk.sync_lock().and_then(|()| marks.mark(key, &paths, &output, &ledger, leash));
                    Ok((result, marks))
                })
                .await?;
            self.work("checkpoint.mark")?.marks = Some(marks);
            result?;
        }
        Ok(())
    }
}

impl Call {
    /// Opened at first use: only a step that asks gets the earlier outputs.
    async fn marks(&mut self) -> Answer<&Marks> {
        let work = self.work("checkpoint")?;
        if work.marks.is_none() {
            let (root, output, ledger) = (work.staging.join("checkpoint"), work.cx.output.clone(), work.ledger.clone());
            let (identity, inputs) = (work.identity, work.inputs.clone());
            let open = move |leash: &Leash| {
                let worth = worth(identity, &inputs, leash)?;
                Marks::open(root, worth, &output, &ledger, leash)
            };
            let marks = self.blocking("checkpoint", open).await?;
            self.work("checkpoint")?.marks = Some(marks);
        }
        match &self.work("checkpoint")?.marks {
            Some(marks) => Ok(marks),
            None => Err(crate::bindings::Refusal::denied("checkpoint", "there is no checkpoint")),
        }
    }
}

/// Marks hold for one digest of plugin, configuration and inputs.
fn worth(identity: Digest, inputs: &BTreeMap<String, InputTree>, leash: &Leash) -> Result<Digest> {
    let mut hasher = Hasher::new();
    hasher.update(identity.as_bytes());
    for (name, tree) in inputs {
        hasher.update(format!("{name}\0{}\0", tree.digest(leash)?).as_bytes());
    }
    Ok(hasher.finish())
}

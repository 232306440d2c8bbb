//! `--version`: with `--verbose` also the exact bytes of the core plugins.

use serde::Serialize;

use super::ui::Ui;
use base::error::Result;
use base::exit_code::ExitCode;
use plugin_host::catalog::EMBEDDED;

#[derive(Serialize)]
struct Version {
    event: &'static str,
    version: &'static str,
    plugins: Vec<PluginVersion>,
}

#[derive(Serialize)]
struct PluginVersion {
    name: String,
    version: String,
    digest: String,
}

pub(super) fn print(ui: &Ui, verbose: bool) -> Result<ExitCode> {
    let plugins: Vec<PluginVersion> = EMBEDDED
        .iter()
        .map(|plugin| PluginVersion {
            name: plugin.name.to_string(),
            version: plugin.version.to_string(),
            digest: plugin.digest.to_string(),
        })
        .collect();
    let mut text = format!("opencenter-airgap {}", env!("CARGO_PKG_VERSION"));
    if verbose {
        for plugin in &plugins {
            text.push_str(&format!("\nplugin {} {} {}", plugin.name, plugin.version, plugin.digest));
        }
    }
    ui.say_all(text.lines());
    ui.data(&Version { event: "version", version: env!("CARGO_PKG_VERSION"), plugins });
    Ok(ExitCode::Done)
}

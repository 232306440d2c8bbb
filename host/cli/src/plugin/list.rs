//! `plugin list`: the core plugins and the pinned ones, and whether those are
//! what was pinned, by whom they must be.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::terms::keys;
use super::{Origin, say_abilities};
use crate::table;
use crate::ui::{Color, Ui};
use base::error::{Error, Result};
use base::exit_code::ExitCode;
use base::layout::shown;
use config::Project;
use config::plugins_lock::Pin;
use disk::fs;
use entitlement::grants::Grants;
use plugin_host::abilities;
use plugin_host::catalog::EMBEDDED;
use plugin_host::limits::COMPONENT_BYTES;
use signing::PublicKey;

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Check each pinned plugin: its bytes, and its signature where it has one
    #[arg(long)]
    verify: bool,
    /// The public key that must have signed each of them; by default those of
    /// security.plugin_keys
    #[arg(long, value_name = "FILE", requires = "verify")]
    key: Option<PathBuf>,
}

#[derive(Serialize)]
struct Listed {
    event: &'static str,
    /// Missing where nothing was checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    sound: Option<bool>,
    plugins: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    version: String,
    digest: String,
    /// None for a core plugin.
    path: Option<PathBuf>,
    #[serde(flatten)]
    origin: Option<Origin>,
    grants: Option<Grants>,
    /// Whether it takes the place of the core plugin of its name.
    replaces_core: bool,
    /// As those of `plugin`.
    abilities: Vec<String>,
    /// Ids of the steps that it runs.
    steps: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<Verified>,
}

/// What came of checking one.
#[derive(Serialize)]
struct Verified {
    sound: bool,
    says: String,
}

pub(super) fn list(args: &ListArgs, project: &Project, ui: &Ui) -> Result<ExitCode> {
    let keys = keys(args.key.as_deref(), project)?;
    let mut plugins = rows(project);
    if args.verify {
        for row in plugins.iter_mut().filter(|row| row.path.is_some()) {
            row.verified = Some(verified(project, &row.name, &keys));
        }
    }
    say(&plugins, args.verify, ui);
    let mut checked = plugins.iter().filter_map(|row| row.verified.as_ref()).peekable();
    let sound = args.verify.then(|| checked.all(|verified| verified.sound));
    ui.data(&Listed { event: "plugins", sound, plugins });
    Ok(if sound == Some(false) { ExitCode::Unreadable } else { ExitCode::Done })
}

fn rows(project: &Project) -> Vec<Row> {
    let pins = &project.plugin_pins;
    let steps = |name: &str| {
        let runs = project.pipeline.steps.iter().filter(|step| step.runs(name));
        runs.map(|step| step.id.clone()).collect::<Vec<_>>()
    };
    let core = EMBEDDED.iter().filter(|core| pins.pin(core.name).is_none()).map(|core| Row {
        name: core.name.to_owned(),
        version: core.version.to_owned(),
        digest: core.digest.to_string(),
        path: None,
        origin: None,
        grants: None,
        replaces_core: false,
        abilities: Vec::new(),
        steps: steps(core.name),
        verified: None,
    });
    let pinned = pins.plugins.iter().map(|(name, pin)| Row {
        name: name.clone(),
        version: pin.version.clone().unwrap_or_default(),
        digest: pin.sha256.to_string(),
        path: Some(pin.path.clone()),
        origin: Some(Origin::of(pin, &project.settings.plugins)),
        grants: Some(pin.grants.clone()),
        replaces_core: pin.replace_core,
        abilities: abilities::of_pin(name, pin),
        steps: steps(name),
        verified: None,
    });
    core.chain(pinned).collect()
}

fn say(plugins: &[Row], is_verified: bool, ui: &Ui) {
    let mut rows = vec![["plugin", "version", "steps", "kind", "from"].map(str::to_owned).to_vec()];
    rows.extend(plugins.iter().map(|row| {
        let from = row.path.as_ref().map_or_else(|| "this binary".to_owned(), |path| path.display().to_string());
        vec![
            row.name.clone(),
            row.version.clone(),
            row.steps.join(", "),
            kind(row).to_owned(),
            format!("{from} {}", row.digest),
        ]
    }));
    ui.say_all(table::render(&rows, ui.width()));
    for row in plugins.iter().filter(|row| row.path.is_some()) {
        ui.say("");
        say_abilities(&row.name, &row.abilities, ui);
        row.origin.iter().for_each(|origin| origin.say(ui));
    }
    if !is_verified {
        return;
    }
    ui.say("");
    let checked: Vec<(&Row, &Verified)> =
        plugins.iter().filter_map(|row| Some((row, row.verified.as_ref()?))).collect();
    if checked.is_empty() {
        ui.say("no plugin is pinned: there is nothing to verify");
    }
    for (row, Verified { sound, says }) in checked {
        let (symbol, color) = if *sound { ("✓", Color::Green) } else { ("✗", Color::Red) };
        let lines = table::wrapped(&format!("{symbol} "), &format!("{}: {says}", row.name), ui.width());
        for (at, line) in lines.iter().enumerate() {
            if at == 0 { ui.say_painted(color, symbol, line) } else { ui.say(line) }
        }
    }
}

fn kind(row: &Row) -> &'static str {
    match (&row.path, row.replaces_core) {
        (None, _) => "core",
        (Some(_), true) => "replaces the core plugin",
        (Some(_), false) => "pinned",
    }
}

fn verified(project: &Project, name: &str, keys: &[PublicKey]) -> Verified {
    let found = project.plugin_pins.pin(name);
    let checked = found.map(|(pin, path)| check_bytes(pin, &path).and_then(|()| check_key(pin, keys)));
    match checked {
        Some(Ok(says)) => Verified { sound: true, says },
        Some(Err(error)) => Verified { sound: false, says: error.one_line() },
        None => Verified { sound: false, says: "it is not pinned".to_owned() },
    }
}

fn check_bytes(pin: &Pin, path: &std::path::Path) -> Result<()> {
    let shown = shown(path);
    if fs::no_file(path).is_some() || !path.exists() {
        return Err(Error::configuration(format!("there is no file {shown}")));
    }
    let (found, size) = fs::hashed(path)?;
    if found == pin.sha256 && size <= COMPONENT_BYTES {
        return Ok(());
    }
    Err(Error::integrity(format!("{shown} has {found}, and config/plugins.lock pins {}", pin.sha256)))
}

/// The signature in the lock holds by the key that it names, or the lock would
/// not have been read. Whether that is a key that is believed is said here.
fn check_key(pin: &Pin, keys: &[PublicKey]) -> Result<String> {
    let Some(signature) = &pin.signature else {
        return match keys {
            [] => Ok("the bytes that are pinned; not signed".to_owned()),
            _ => Err(Error::integrity("it is not signed")),
        };
    };
    if keys.is_empty() {
        let by = signature.signer();
        return Ok(format!(
            "the bytes that are pinned, signed by the key {by}, which was not compared with one of yours"
        ));
    }
    let key = signature.held_by(keys, &pin.sha256)?;
    Ok(format!("the bytes that are pinned, signed by the key {}", key.hint()))
}

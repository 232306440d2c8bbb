//! Raises the second wall for the commands that run third-party plugins: what
//! a build has to write to, and where it has to connect to.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::environment::Variables;
use super::ui::Ui;
use base::error::Result;
use config::airgap_lock::AirgapLock;
use config::pipeline::Runner;
use config::{Project, written};
use confine::wall::{Openings, Wall};
use confine::{ports, wall};
use disk::fs;
use fetch::network::NetworkEnvironment;

/// Bytes of one file of the configuration that are searched for ports.
const SEARCHED: u64 = 64 << 20;

/// Which plugins a command runs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Runs<'a> {
    /// Those of the pipeline, and writes what they make.
    Pipeline,
    /// Those of the pipeline, and writes nothing into the project.
    LookAhead,
    /// This one beside any build.
    One(&'a str),
    /// One that nobody has pinned yet.
    Unknown,
}

/// Before any thread is started.
///
/// # Errors
/// `local` where the wall is required and the kernel has none, and where the
/// folders of the build can not be made.
pub(super) fn raise(project: &Project, runs: Runs<'_>, ui: &Ui, variables: &Variables) -> Result<Wall> {
    raise_beside(project, runs, None, "", ui, variables)
}

/// The same, with a folder that is written as well, and `addresses` that are
/// asked, whose ports count like those of the configuration.
///
/// # Errors
/// As [`raise`].
pub(super) fn raise_beside(
    project: &Project,
    runs: Runs<'_>,
    beside: Option<&Path>,
    addresses: &str,
    ui: &Ui,
    variables: &Variables,
) -> Result<Wall> {
    if !runs_third_party(project, runs) {
        return Ok(Wall::Unasked);
    }
    let mut writable = writable(project, runs, variables)?;
    writable.extend(beside.map(Path::to_owned));
    let mut ports = open_ports(project, variables);
    ports.extend(ports::named_in(addresses.as_bytes()));
    let openings = Openings { writable, ports };
    let wall = wall::raise(project.settings.security.second_wall, &openings)?;
    if wall == Wall::Missing {
        ui.note(
            "warning: this kernel has no second wall for third-party plugins (Linux 5.19 or newer with Landlock has): \
             `security.second_wall` in config/settings.yaml says whether that may be",
        );
    }
    Ok(wall)
}

fn runs_third_party(project: &Project, runs: Runs<'_>) -> bool {
    let is_pinned = |name: &str| project.plugin_pins.pin(name).is_some();
    match runs {
        Runs::Unknown => true,
        Runs::One(name) => is_pinned(name),
        Runs::Pipeline | Runs::LookAhead => {
            project.pipeline.steps.iter().any(|step| matches!(&step.run, Runner::Plugin(name) if is_pinned(name)))
        }
    }
}

/// What is not there can not be left open, so a build makes its folders first.
fn writable(project: &Project, runs: Runs<'_>, variables: &Variables) -> Result<Vec<PathBuf>> {
    let layout = &project.layout;
    let mut folders = vec![variables.temporary.clone(), layout.config.clone()];
    // Where a file of config/ is a link, what it leads to is written.
    for path in written::by_builds(layout) {
        let home = written::home(layout, &path).ok().filter(|home| *home != path);
        folders.extend(home.and_then(|home| home.parent().map(Path::to_owned)));
    }
    if matches!(runs, Runs::Pipeline) {
        for folder in [&layout.build, &layout.dist] {
            fs::create_dir_all(folder)?;
            folders.push(folder.clone());
        }
    }
    // The key lies beside the folder of compiled plugins. One that can not be
    // made is no cache, as ever.
    if let Some(cache) = variables.cache_dir.as_deref().and_then(Path::parent) {
        let _ = fs::create_dir_all(cache);
        folders.push(cache.to_owned());
    }
    folders.extend(project.settings.security.writable.iter().map(|folder| below_home(folder, variables)));
    Ok(folders)
}

fn below_home(folder: &Path, variables: &Variables) -> PathBuf {
    match (folder.strip_prefix("~"), &variables.home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => folder.to_owned(),
    }
}

/// The usual ports, those that the settings list, and whatever a file of the
/// configuration or a proxy of the environment names. Of airgap.lock what a
/// pinned plugin fetched does not count: it wrote those addresses itself. Nor do
/// signatures in plugins.lock, which hold what its author wrote.
fn open_ports(project: &Project, variables: &Variables) -> BTreeSet<u16> {
    let NetworkEnvironment { https_proxy, http_proxy, .. } = &variables.network;
    let mut open: BTreeSet<u16> = ports::USUAL.into();
    open.extend(&project.settings.security.ports);
    open.extend([https_proxy, http_proxy].into_iter().flatten().flat_map(|proxy| ports::named_in(proxy.as_bytes())));
    open.extend(ports::named_in(own_entries(&project.lock).to_text().as_bytes()));
    let mut pins = project.plugin_pins.clone();
    pins.plugins.values_mut().for_each(|pin| pin.signature = None);
    open.extend(ports::named_in(pins.to_text().as_bytes()));
    // A definition lies beside config/. Ports that only a skeleton names which is not
    // there yet are not known: a build whose plugins others wrote lists them itself.
    open.extend(project.read.for_plugins().flat_map(|(_, text)| ports::named_in(text.as_bytes())));
    open.extend(project.skeletons().into_iter().flat_map(|url| ports::named_in(url.as_bytes())));
    let locks = [project.layout.airgap_lock(), project.layout.plugins_lock()];
    let files = project.layout.config.read_dir().into_iter().flatten().flatten();
    for entry in files.filter(|entry| !locks.contains(&entry.path())) {
        if let Ok(Some(text)) = fs::read_optional(&entry.path(), SEARCHED) {
            open.extend(ports::named_in(&text));
        }
    }
    open
}

/// What of airgap.lock the host and the core plugins entered.
fn own_entries(lock: &AirgapLock) -> AirgapLock {
    let mut own = lock.clone();
    own.plugins.clear();
    own.charts.retain(|_, chart| chart.by.is_none());
    own
}

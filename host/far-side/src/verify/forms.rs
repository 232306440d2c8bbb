//! The forms of a definition: whether both documents say the same, and which
//! releases of Zarf take the package.

use std::iter;

use model::zarf::alpha::WaitCluster;
use model::zarf::convert::to_beta;
use model::zarf::{self, API_VERSION, BETA_VERSION, Component, beta, differences};

use super::facts::Facts;
use super::package::{Forms, Package};
use super::{Definition, Problems};
use seal::members::BUNDLE;

/// Differences that are named.
const NAMED: usize = 20;

/// Two sites would deploy different things from one file: Zarf compares
/// nothing.
pub(super) fn compare(alpha: &zarf::Definition, beta: &beta::Definition, problems: &mut Problems) {
    let (mut converted, losses) = to_beta(alpha);
    let mut beta = beta.clone();
    let mut found: Vec<String> = losses
        .into_iter()
        .map(|loss| format!("says `{}` in its v1alpha1 document and nowhere in its v1beta1 document", loss.field))
        .collect();
    settle_waits(alpha, &mut converted, &mut beta);
    for definition in [&mut converted, &mut beta] {
        // Documents that go along lie elsewhere in v1beta1, and migrations are
        // those of one form.
        definition.documentation.clear();
        definition.build.migrations.clear();
    }
    if let (Ok(one), Ok(other)) = (serde_yaml::to_value(converted), serde_yaml::to_value(beta)) {
        let places = differences(&one, &other, NAMED);
        found
            .extend(places.into_iter().map(|place| format!("says different things in `{place}` in its two documents")));
    }
    for message in found.into_iter().take(NAMED) {
        problems.add_for("documents", "zarf.yaml", message);
    }
}

/// Zarf 0.84, which signs a package, leaves a wait without condition as it is:
/// for existence in v1alpha1, and for readiness in v1beta1.
fn settle_waits(alpha: &zarf::Definition, converted: &mut beta::Definition, beta: &mut beta::Definition) {
    let pairs = waits(converted).into_iter().zip(waits(beta));
    for ((ours, theirs), is_silent) in pairs.zip(silent_waits(alpha)) {
        if is_silent && theirs.condition.is_empty() {
            ours.condition.clear();
        }
    }
}

fn waits(definition: &mut beta::Definition) -> Vec<&mut WaitCluster> {
    let actions = definition.components.iter_mut().map(|component| &mut component.actions);
    let sets = actions.flat_map(|beta::Actions { on_create, on_deploy, on_remove }| [on_create, on_deploy, on_remove]);
    let all = sets.flat_map(|set| set.before.iter_mut().chain(&mut set.on_success).chain(&mut set.on_failure));
    all.filter_map(|action| action.wait.as_mut()?.cluster.as_mut()).collect()
}

/// Whether each wait of a v1alpha1 document names no condition, in the order
/// that the waits have in the other one.
fn silent_waits(alpha: &zarf::Definition) -> Vec<bool> {
    let mut silent = Vec::new();
    for component in &alpha.components {
        let zarf::Actions { on_create, on_deploy, on_remove } = &component.actions;
        for (set, checks) in [(on_create, 0), (on_deploy, component.health_checks.len()), (on_remove, 0)] {
            silent.extend([&set.before, &set.after, &set.on_success].into_iter().flat_map(|actions| silence(actions)));
            silent.extend(iter::repeat_n(false, checks));
            silent.extend(silence(&set.on_failure));
        }
    }
    silent
}

fn silence(actions: &[zarf::Action]) -> impl Iterator<Item = bool> {
    let waits = actions.iter().filter_map(|action| action.wait.as_ref()?.cluster.as_ref());
    waits.map(|cluster| cluster.condition.is_empty())
}

/// Takes the charts for what their files say; exactly one of the two names must
/// be there.
pub(super) fn settle_charts(package: &mut Package, facts: &Facts) {
    if !package.forms.beta {
        return;
    }
    for Component { name, charts, .. } in &mut package.definition.components {
        let Some(members) = facts.components.get(&format!("components/{name}.tar")) else { continue };
        for chart in charts.iter_mut().filter(|chart| !chart.version.is_empty()) {
            let file = format!("{name}/charts/{}.tgz", chart.stem());
            if members.contains_key(&file) {
                package.naming.with_version.get_or_insert(file);
            } else {
                package.naming.without = true;
                chart.version.clear();
            }
        }
    }
}

/// Characters of a name that are told.
const LONGEST: usize = 80;

/// What is worth knowing of a definition and not wrong.
pub(super) fn remarks(package: &Package) -> impl Iterator<Item = String> {
    [unread(package), outgrown(package), not_compared(package)].into_iter().flatten()
}

/// Zarf from 0.86 on looks for the file of a chart under another name.
fn outgrown(package: &Package) -> Option<String> {
    let file = package.naming.with_version.as_ref()?.escape_debug();
    Some(format!(
        "`{file}` is named as Zarf until 0.85 names a chart of v1beta1: newer ones look for it without the version"
    ))
}

/// Checksums of files that are no SHA-256.
fn not_compared(package: &Package) -> Option<String> {
    let of_another_kind = |checksum: &str| checksum.contains(':') && !checksum.starts_with("sha256:");
    let mut files = package.components().iter().flat_map(|component| &component.files);
    let file = files.find(|file| of_another_kind(&file.shasum))?;
    let target = file.target.chars().take(LONGEST).collect::<String>();
    Some(format!(
        "zarf.yaml gives `{}` a checksum that is no SHA-256: Zarf compares it, and nothing here does",
        target.escape_debug()
    ))
}

/// What to say of documents that only a newer Zarf reads: it deploys what they
/// say, and nobody here can tell what that is.
fn unread(package: &Package) -> Option<String> {
    let first = package.unknown.first()?;
    let more = package.unknown.len() - 1;
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!(
        "zarf.yaml holds a document of `{}`{more}, which this version cannot read: nothing was compared with it, and a \
         Zarf that knows it deploys what it says",
        first.chars().take(LONGEST).collect::<String>().escape_debug()
    ))
}

/// Which releases of Zarf take the package.
pub(crate) fn readers(package: &Package, facts: &Facts) -> Definition {
    let Forms { alpha, beta, alpha_first } = package.forms;
    let mut documents = Vec::new();
    documents.extend(alpha.then_some(API_VERSION));
    documents.extend(beta.then_some(BETA_VERSION));
    if !alpha_first {
        documents.reverse();
    }
    // Below 0.40 nobody has looked.
    let oldest = match package.forms {
        Forms { alpha: false, .. } => (0, 84, 0),
        Forms { alpha_first: false, .. } => (0, 75, 1),
        _ => (0, 40, 0),
    };
    let needed = package.needs(facts).into_iter().chain([oldest]).max().unwrap_or(oldest);
    Definition {
        documents,
        checked: if beta { BETA_VERSION } else { API_VERSION },
        zarf_from: format!("{}.{}.{}", needed.0, needed.1, needed.2),
        outdated: !beta,
    }
}

/// A release of Zarf.
type Release = (u32, u32, u32);

impl Package {
    /// What the content needs, and what its builder says.
    fn needs(&self, facts: &Facts) -> Vec<Release> {
        let charts = || self.components().iter().flat_map(|component| &component.charts);
        let rules = [
            (charts().any(|chart| chart.version.is_empty()), (0, 65, 0)),
            (self.components().iter().any(|component| !component.image_archives.is_empty()), (0, 68, 0)),
            (facts.files.contains_key(BUNDLE), (0, 71, 0)),
            (charts().any(|chart| !chart.templated_values_files.is_empty()), (0, 78, 0)),
            (self.naming.without, (0, 86, 0)),
        ];
        let by_content = rules.iter().filter(|(needed, _)| *needed).map(|(_, release)| *release);
        let requirements = &self.definition.build.version_requirements;
        by_content.chain(requirements.iter().filter_map(|requirement| release(&requirement.version))).collect()
    }
}

fn release(version: &str) -> Option<Release> {
    let mut numbers = version.trim_start_matches('v').split(['-', '+']).next()?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?))
}

impl Definition {
    /// For people.
    pub fn readers(&self) -> String {
        let from = &self.zarf_from;
        if self.outdated {
            format!("{from} to 1.0; v1alpha1 alone ends in May 2027")
        } else {
            format!("{from} and newer")
        }
    }
}

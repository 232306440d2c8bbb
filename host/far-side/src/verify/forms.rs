//! The forms of a definition: whether both documents say the same, and which
//! releases of Zarf take the package.

use components::zarf::convert::to_beta;
use components::zarf::documents::Documents;
use components::zarf::{self, API_VERSION, BETA_VERSION, Component, beta};
use serde_yaml::Value;

use super::definition::Package;
use super::facts::Facts;
use super::{Definition, Problems};

/// Differences that are named.
const NAMED: usize = 20;

/// Which documents a zarf.yaml holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forms {
    alpha: bool,
    beta: bool,
    alpha_first: bool,
}

impl Forms {
    pub(super) fn of(documents: &Documents) -> Self {
        let Documents { alpha, beta, alpha_first, .. } = documents;
        Self { alpha: alpha.is_some(), beta: beta.is_some(), alpha_first: *alpha_first }
    }

    /// Where the document that counts has the digest of checksums.txt.
    pub(super) fn aggregate_field(self) -> &'static str {
        if self.beta { "build.aggregateChecksum" } else { "metadata.aggregateChecksum" }
    }
}

/// Two sites would deploy different things from one file: Zarf compares
/// nothing.
pub(super) fn compare(alpha: &zarf::Definition, beta: &beta::Definition, problems: &mut Problems) {
    let (converted, losses) = to_beta(alpha);
    let mut found: Vec<String> = losses
        .into_iter()
        .map(|loss| format!("`{}` of the v1alpha1 document is nowhere in the v1beta1 document", loss.field))
        .collect();
    let values = (comparable(converted), comparable(beta.clone()));
    if let (Ok(one), Ok(other)) = values {
        let mut places = Vec::new();
        differences(&one, &other, "", &mut places);
        found.extend(places.into_iter().map(|place| format!("its two documents say different things in `{place}`")));
    }
    for message in found.into_iter().take(NAMED) {
        problems.add_for("documents", "zarf.yaml", message);
    }
}

/// Without what may differ: documents that go along lie elsewhere in v1beta1,
/// Zarf 0.84 waits for existence in both, and says defaults in one of them.
fn comparable(mut definition: beta::Definition) -> Result<Value, serde_yaml::Error> {
    definition.documentation.clear();
    definition.build.migrations.clear();
    for component in &mut definition.components {
        let actions = &mut component.actions;
        for set in [&mut actions.on_create, &mut actions.on_deploy, &mut actions.on_remove] {
            let all = set.before.iter_mut().chain(&mut set.on_success).chain(&mut set.on_failure);
            for cluster in all.filter_map(|action| action.wait.as_mut()?.cluster.as_mut()) {
                if cluster.condition.is_empty() {
                    "exists".clone_into(&mut cluster.condition);
                }
            }
        }
    }
    serde_yaml::to_value(definition)
}

fn differences(one: &Value, other: &Value, place: &str, places: &mut Vec<String>) {
    let below = |part: &str| if place.is_empty() { part.to_owned() } else { format!("{place}.{part}") };
    match (one, other) {
        _ if places.len() >= NAMED => {}
        (Value::Mapping(one), Value::Mapping(other)) => {
            let keys = one.keys().chain(other.keys().filter(|key| !one.contains_key(*key)));
            for key in keys {
                let null = &Value::Null;
                let (one, other) = (one.get(key).unwrap_or(null), other.get(key).unwrap_or(null));
                differences(one, other, &below(key.as_str().unwrap_or_default()), places);
            }
        }
        (Value::Sequence(one), Value::Sequence(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                let name = one.get("name").and_then(Value::as_str).map_or_else(|| index.to_string(), str::to_owned);
                differences(one, other, &below(&name), places);
            }
        }
        (one, other) if one != other => places.push(place.to_owned()),
        _ => {}
    }
}

/// Zarf 0.84 and 0.85 name the file of a chart by its version where v1beta1 has
/// one, newer ones never do.
pub(super) fn settle_charts(package: &mut Package, facts: &Facts) {
    if !package.forms.beta {
        return;
    }
    for Component { name, charts, .. } in &mut package.definition.components {
        let Some(members) = facts.components.get(&format!("components/{name}.tar")) else { continue };
        for chart in charts {
            if !members.contains_key(&format!("{name}/charts/{}.tgz", chart.stem())) {
                chart.version.clear();
            }
        }
    }
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
            (facts.files.contains_key("zarf.bundle.sig"), (0, 71, 0)),
            (charts().any(|chart| !chart.templated_values_files.is_empty()), (0, 78, 0)),
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

//! What loads and yet installs nothing, or cannot be installed where there is no
//! network: Helm refuses it late, and Zarf deploys it without a word.

use image_finder::scalar::Scalar;
use image_finder::template;
use image_finder::{Node, Value as Yaml};
use model::version::Constraint;
use serde_json::Value;

use crate::schema::Schema;
use crate::{Chart, Refusal, enabled, images, shown};

/// Whether `helm install` goes on behind the loading, with these values: the chart's
/// with the user's laid over them. None where they are not known.
///
/// # Errors
/// What the chart is or lacks.
pub fn check(chart: &Chart, values: Option<Node>) -> Result<(), Refusal> {
    if chart.metadata.kind == "library" {
        let why = "its `Chart.yaml` says `type: library`: such a chart installs nothing, others use it";
        return Err(Refusal::new(why, "name the chart that depends on it instead"));
    }
    let missing: Vec<String> = missing(chart).collect();
    if !missing.is_empty() {
        let why = format!("its `Chart.yaml` lists dependencies that are not in its `charts/`: {}", missing.join(", "));
        let hint = "without them Helm refuses the chart, and Zarf installs nothing: unpack the chart, run `helm dependency build` in its folder, and give the folder as `repo`";
        return Err(Refusal::new(why, hint));
    }
    installs(chart)?;
    match values {
        Some(values) => fulfilled(chart, values),
        None => schemas(chart),
    }
}

/// What Helm finds out of a chart whatever its values are.
fn installs(chart: &Chart) -> Result<(), Refusal> {
    let wanted = &chart.metadata.kube_version;
    if !wanted.is_empty() && Constraint::parse(wanted).is_none() {
        let why = format!(
            "its `Chart.yaml` has the kubeVersion `{}`, which is no constraint like `>=1.28.0-0`",
            shown(wanted)
        );
        return Err(Refusal::new(
            why,
            "correct it: no Kubernetes is of that version, and Helm installs the chart nowhere",
        ));
    }
    for file in chart.templates.iter().filter(|file| images::is_parsed(chart, &file.path)) {
        if let Some(why) = template::fault(&String::from_utf8_lossy(&file.data)) {
            return Err(Refusal::content(format!("its `{}` is no template, {why}", shown(&file.path))));
        }
    }
    Ok(())
}

/// A values.schema.json is read at installation, of every subchart that is switched
/// on too.
fn fulfilled(chart: &Chart, values: Node) -> Result<(), Refusal> {
    for one in enabled::of(chart, values)? {
        let within = |refusal: Refusal| {
            if one.place.is_empty() { refusal } else { refusal.within(one.place.trim_end_matches('/')) }
        };
        installs(one.chart).map_err(within)?;
        let schema = readable(one.chart).map_err(within)?;
        // What a subchart hands up is not followed here.
        let imports = chart.dependencies().any(crate::Dependency::imports_values);
        let why = schema.filter(|_| !imports).and_then(|schema| schema.unfulfilled(&json(&one.values)));
        if let Some(why) = why {
            let hint = "write values that fulfil it into a values file of the chart";
            let why = format!("its values do not fulfil its `values.schema.json`: {why}");
            return Err(within(Refusal::new(why, hint)));
        }
    }
    Ok(())
}

/// Values as Helm shows them to a schema.
fn json(node: &Node) -> Value {
    match &node.value {
        Yaml::List(items) => items.iter().map(json).collect(),
        Yaml::Map(entries) => {
            entries.iter().map(|(key, node)| (key.clone(), json(node))).collect::<serde_json::Map<_, _>>().into()
        }
        Yaml::Scalar { .. } => match node.scalar() {
            None | Some(Scalar::Null) => Value::Null,
            Some(Scalar::Bool(value)) => value.into(),
            Some(Scalar::Int(number)) => number.into(),
            Some(Scalar::Unsigned(number)) => number.into(),
            Some(Scalar::Float(number)) => number.into(),
            Some(Scalar::Text(text)) => text.into(),
        },
    }
}

/// Helm goes by the names alone, whatever the conditions say.
fn missing(chart: &Chart) -> impl Iterator<Item = String> {
    let absent = chart.dependencies().filter(|wanted| !chart.subcharts.iter().any(|there| there.name() == wanted.name));
    absent.map(|wanted| {
        let from =
            if wanted.repository.is_empty() { String::new() } else { format!(" from {}", shown(&wanted.repository)) };
        format!("`{} {}`{from}", shown(&wanted.name), shown(&wanted.version))
    })
}

/// Which subchart is switched off, values decide that only the deployment knows:
/// those with a condition or tags are passed over.
fn schemas(chart: &Chart) -> Result<(), Refusal> {
    readable(chart)?;
    let is_sure =
        |name: &str| !chart.dependencies().any(|d| d.name == name && !(d.condition.is_empty() && d.tags.is_empty()));
    let mut subcharts = chart.subcharts.iter().filter(|chart| is_sure(chart.name()));
    subcharts
        .try_for_each(|chart| schemas(chart).map_err(|refusal| refusal.within(&format!("charts/{}", chart.name()))))
}

/// The schema of a chart, which has to be one.
fn readable(chart: &Chart) -> Result<Option<Schema>, Refusal> {
    let refuse = |why: String| {
        let hint = "correct the schema in the chart, or leave it out and pack the chart anew";
        Err(Refusal::new(format!("its `values.schema.json` {why}"), hint))
    };
    let Some(bytes) = chart.schema.as_deref() else { return Ok(None) };
    let schema = match serde_json::from_slice::<Value>(bytes) {
        Err(error) => return refuse(format!("is not JSON: {error}")),
        Ok(schema) => schema,
    };
    if !schema.is_object() && !schema.is_boolean() {
        return refuse("is neither an object nor `true`".to_owned());
    }
    if schema == Value::Bool(false) {
        return refuse("is `false`, which no values fulfil".to_owned());
    }
    Schema::read(schema).map(Some).or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::File;

    /// Each was tried with Helm.
    #[test]
    fn a_version_of_kubernetes_is_wanted_in_helms_words() {
        let check = |wanted: &str| {
            let text = format!("name: c\nversion: 1.0.0\nkubeVersion: \"{wanted}\"\n");
            let file = File { path: "Chart.yaml".to_owned(), data: text.into_bytes() };
            check(&crate::load::from_files(&[file], &mut (1 << 20)).unwrap(), None)
        };
        for good in [
            ">=1.20.0-0 <1.40.0",
            ">= 1.19",
            "^1.19.0-0",
            "1.x",
            "*",
            "=>1.20",
            "1.20 - 1.99",
            ">=1.20 || 1.9",
            ">=1.20.0+x",
            "",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [">>x", "abc", "1.2.3.4", ">=1.19.0,", ">= 1.20.0 foo"] {
            assert!(check(bad).unwrap_err().why.contains("kubeVersion"), "{bad}");
        }
    }
}

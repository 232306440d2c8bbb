//! From the world's strings and handles to the typed [`Step`], and back.

use schemars::{JsonSchema, schema_for};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Context, Description, Inputs, NamedTree, Sink, Step, StepError, Summary};

/// What the host tells every step beside its own configuration:
/// `package` (name, version and the other fields of `package` in
/// settings.yaml), `architecture` (`amd64` or `arm64`), `force_regenerate`
/// and `strict_images` (flags of this run). The plugin `zarf-yaml` is told the
/// `contributions` of the steps as well; the core plugins `package` and `sbom` the
/// `plugins` of the pipeline, the `format`, and whether there is an `sbom`.
pub const HOST_FIELDS: &[&str] =
    &["package", "architecture", "force_regenerate", "strict_images", "plugins", "format", "sbom", "contributions"];

/// Reads the configuration as the host passes it.
///
/// # Errors
/// `invalid-input`, code `configuration`, with the field and what is wrong.
pub fn parse_configuration<C: DeserializeOwned + JsonSchema>(text: &str) -> Result<C, StepError> {
    let refuse = |error: serde_json::Error| {
        StepError::invalid_input("configuration", format!("the step's configuration is not what it accepts: {error}"))
            .hint("correct `configuration` of this step in config/pipeline.yaml")
    };
    let mut value: Value = serde_json::from_str(text).map_err(refuse)?;
    if let Value::Object(fields) = &mut value {
        let schema = schema_for!(C);
        let declared = schema.get("properties").and_then(Value::as_object);
        // A configuration without any field says so by taking no other.
        let takes_any = declared.is_none() && schema.get("additionalProperties") != Some(&Value::Bool(false));
        let is_declared = |name: &str| takes_any || declared.is_some_and(|declared| declared.contains_key(name));
        fields.retain(|name, _| !HOST_FIELDS.contains(&name.as_str()) || is_declared(name));
    }
    serde_json::from_value(value).map_err(refuse)
}

/// The answer to `describe`.
pub fn describe<S: Step>(crate_version: &str) -> Description {
    let version = if S::VERSION.is_empty() { crate_version } else { S::VERSION };
    Description {
        name: S::NAME.to_owned(),
        version: version.to_owned(),
        summary: S::SUMMARY.to_owned(),
        configuration_schema: schema_for!(S::Configuration).as_value().to_string(),
        wants: S::wants(),
    }
}

/// The answer to `run`.
pub fn run<S: Step>(
    context: &Context,
    configuration: &str,
    inputs: Vec<NamedTree>,
    output: &Sink,
) -> Result<Summary, StepError> {
    let configuration = parse_configuration(configuration)?;
    S::run(context, configuration, &Inputs::new(inputs), output)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Configuration {
        greeting: String,
        #[serde(default)]
        architecture: Option<String>,
    }

    #[test]
    fn host_fields_pass_where_declared_vanish_where_not_and_typos_are_refused() {
        let text = r#"{"greeting": "hi", "architecture": "arm64", "package": {"name": "x"}, "strict_images": true}"#;
        let parsed: Configuration = parse_configuration(text).unwrap();
        assert_eq!(parsed, Configuration { greeting: "hi".into(), architecture: Some("arm64".into()) });

        let error = parse_configuration::<Configuration>(r#"{"greting": "hi"}"#).unwrap_err();
        let StepError::InvalidInput(failure) = error else { panic!("{error:?}") };
        assert_eq!(failure.code, "configuration");
        assert!(failure.message.contains("unknown field `greting`"), "{}", failure.message);
    }

    /// A step without any setting runs beside all that the host tells.
    #[test]
    fn host_fields_vanish_where_nothing_is_declared() {
        #[derive(Debug, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}
        parse_configuration::<Nothing>(r#"{"architecture": "arm64", "strict_images": true}"#).unwrap();
        parse_configuration::<Nothing>(r#"{"greting": "hi"}"#).unwrap_err();
    }

    #[test]
    fn a_step_that_takes_anything_gets_everything() {
        let parsed: Value = parse_configuration(r#"{"package": {"name": "x"}, "more": 1}"#).unwrap();
        assert_eq!(parsed["package"]["name"], "x");
    }
}

//! The step `render`: the images of charts by Helm's own engine in the sandbox, for
//! one chart and for fifty, with the engine compiled before and not.

use airgap_tests::charts::{chart, index};
use airgap_tests::file_server::FileServer;
use airgap_tests::measure::median;
use airgap_tests::project::Project;
use serde_json::json;
use std::time::Duration;

use crate::compare::{MEMORY, empty_cache};
use crate::run::{build, metrics, steps};
use crate::table::{Table, Target, Unit};

const MANY: usize = 50;
/// What one more chart may take.
const EACH: f64 = 0.1;

/// Helpers, a loop and a condition, as charts have them.
const TEMPLATE: &str = r#"{{- define "app.image" -}}{{ printf "%s/%s:%s" .registry .repository (.tag | default "1.0") }}{{- end -}}
{{- range $name, $part := .Values.parts }}
{{- if $part.enabled }}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $.Release.Name }}-{{ $name }}
  labels: {{- include "app.labels" $ | nindent 4 }}
spec:
  template:
    spec:
      containers:
        - name: {{ $name }}
          image: {{ include "app.image" $part.image | quote }}
{{- end }}
{{- end }}
"#;
const LABELS: &str = r#"{{- define "app.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | default "1" | quote }}
{{- end -}}"#;

pub(crate) fn measure(table: &mut Table, rounds: usize) -> anyhow::Result<()> {
    let server = FileServer::start();
    let archives: Vec<(String, String, Vec<u8>)> = (0..MANY)
        .map(|number| {
            let (name, bytes) = packed(number);
            let url = server.put(&format!("/charts/{name}-1.0.0.tgz"), bytes.clone());
            (name, url, bytes)
        })
        .collect();
    let rows: Vec<(&str, &str, &str, &[u8])> =
        archives.iter().map(|(name, url, bytes)| (name.as_str(), "1.0.0", url.as_str(), bytes.as_slice())).collect();
    server.put("/charts/index.yaml", index(&rows).into_bytes());
    table.begin("Images of charts by rendering");
    let project = |count: usize| {
        let project = Project::new().with_file_server(&server.host());
        archives.iter().take(count).fold(project, |project, (name, ..)| {
            let repo = server.url("/charts");
            project.with_chart(json!({ "name": name, "repo": repo, "version": "1.0.0", "namespace": "apps" }))
        })
    };
    let cold = project(1).with_env("XDG_CACHE_HOME", empty_cache()?.display().to_string());
    let memory = build(&cold)?.memory;
    table.tell("the step with an engine that is not compiled yet", Unit::Seconds, step(&cold)?.as_secs_f64());
    table.tell("that build, peak memory", Unit::Mebibytes, memory as f64);
    build(&project(1))?;
    let (mut one, mut many, mut memory) = (Vec::new(), Vec::new(), 0);
    for _ in 0..rounds {
        for (count, times) in [(1, &mut one), (MANY, &mut many)] {
            let project = project(count);
            memory = memory.max(build(&project)?.memory);
            times.push(step(&project)?);
        }
    }
    let [one, many] = [one, many].map(|times| median(times).as_secs_f64());
    table.tell("the step, 1 chart", Unit::Milliseconds, one);
    table.tell("the step, 50 charts", Unit::Milliseconds, many);
    table.row("each further chart", Unit::Milliseconds, Target::AtMost(EACH), (many - one) / (MANY - 1) as f64);
    table.row("a build with them, peak memory", Unit::Mebibytes, Target::AtMost(MEMORY), memory as f64);
    Ok(())
}

/// How long the step took.
fn step(project: &Project) -> anyhow::Result<Duration> {
    let metrics = metrics(project)?;
    let step = steps(&metrics).find(|step| step["id"] == "render");
    let took = step.and_then(|step| step["duration_ms"].as_u64());
    Ok(Duration::from_millis(took.ok_or_else(|| anyhow::anyhow!("the build has no step render"))?))
}

/// Name and archive of a chart with ten images.
fn packed(number: usize) -> (String, Vec<u8>) {
    let name = format!("app{number}");
    let parts: Vec<String> = (0..10)
        .map(|part| {
            format!("  part{part}:\n    enabled: true\n    image: {{registry: registry.example.com, repository: team/app{number}-{part}}}\n")
        })
        .collect();
    let values = format!("parts:\n{}", parts.concat());
    let files = [("values.yaml", values.as_str()), ("templates/app.yaml", TEMPLATE), ("templates/_labels.tpl", LABELS)];
    (name.clone(), chart(&name, "1.0.0", &files))
}

// Package step is the core plugin helm-render: what charts render to.
//
// A tree with render.json says which charts, with which values. Each becomes
// rendered/<n>-<name>.json, a list of documents; rendered.json says what
// became of each. A chart that can not be rendered is no error of the step: the
// list says why.
package step

import (
	"encoding/json"
	"fmt"
	"runtime/debug"

	host "helm-render/airgap/opencenter_airgap_host"
	outputs "helm-render/airgap/opencenter_airgap_outputs"
	airgap "helm-render/airgap/opencenter_airgap_step"
	trees "helm-render/airgap/opencenter_airgap_trees"
	types "helm-render/airgap/opencenter_airgap_types"
	wit "helm-render/airgap/wit/types"
	"helm-render/rendering"
)

// What a step is told, as JSON Schema.
const schema = `{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "api_versions": {
      "description": "That the cluster knows beside those of Kubernetes.",
      "type": "array",
      "items": {"type": "string"}
    }
  }
}`

// Bytes of the list, of a packed chart, and of a values file.
const (
	mostList    = 16 << 20
	mostArchive = 64 << 20
	mostValues  = 8 << 20
)

// Bytes of memory from which on it is tidied up at any price.
const soft = 160 << 20

// list is render.json.
type list struct {
	KubeVersion string  `json:"kube_version"`
	Charts      []chart `json:"charts"`
}

type chart struct {
	Name      string   `json:"name"`
	Version   string   `json:"version"`
	Release   string   `json:"release"`
	Namespace string   `json:"namespace"`
	Path      string   `json:"path"`
	Values    []string `json:"values"`
}

// row is a row of rendered.json.
type row struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	// Where its documents lie; empty where it could not be rendered.
	Path    string             `json:"path,omitempty"`
	Problem *rendering.Problem `json:"problem,omitempty"`
}

// Describe says what the plugin is.
func Describe() airgap.Description {
	return airgap.Description{
		Name:                "helm-render",
		Version:             Version,
		Summary:             "Renders Helm charts as `helm template` does",
		ConfigurationSchema: schema,
	}
}

// Version of the product, set by the linker.
var Version = "0.0.0"

// Result is what a step returns.
type Result = wit.Result[airgap.Summary, types.StepError]

// Run does the work.
func Run(_ airgap.Context, configuration string, inputs []airgap.NamedTree, output *outputs.Sink) Result {
	debug.SetMemoryLimit(soft)
	var told struct {
		APIVersions []string `json:"api_versions"`
	}
	if err := json.Unmarshal([]byte(configuration), &told); err != nil {
		return invalid("configuration", err.Error())
	}
	tree, wanted, failure := wantedOf(inputs)
	if failure != nil {
		return *failure
	}
	rows := make([]row, 0, len(wanted.Charts))
	for at, chart := range wanted.Charts {
		if !host.Progress(uint64(at), wit.Some(uint64(len(wanted.Charts))), "charts", chart.Name) {
			return wit.Err[airgap.Summary](types.MakeStepErrorInterrupted())
		}
		job, failure := jobOf(tree, chart)
		if failure != nil {
			return *failure
		}
		job.KubeVersion, job.APIVersions = wanted.KubeVersion, told.APIVersions
		row := row{Name: chart.Name, Version: chart.Version}
		documents, problem := rendering.Render(job)
		if row.Problem = problem; problem == nil {
			row.Path = fmt.Sprintf("rendered/%d-%s.json", at, chart.Name)
			if failure := write(output, row.Path, documents); failure != nil {
				return *failure
			}
		}
		rows = append(rows, row)
	}
	if failure := write(output, "rendered.json", rows); failure != nil {
		return *failure
	}
	return wit.Ok[airgap.Summary, types.StepError](airgap.Summary{
		Message: counted(rows), Items: uint64(len(rows)), Unit: "charts",
	})
}

func counted(rows []row) string {
	message := fmt.Sprintf("%d charts", len(rows))
	if len(rows) == 1 {
		message = "1 chart"
	}
	refused := 0
	for _, row := range rows {
		if row.Problem != nil {
			refused++
		}
	}
	if refused > 0 {
		message += fmt.Sprintf(", %d not rendered", refused)
	}
	return message
}

// wantedOf finds the list among the trees, which may be none.
func wantedOf(inputs []airgap.NamedTree) (*trees.Tree, *list, *Result) {
	for _, input := range inputs {
		if found := input.Tree.Stat("render.json"); found.IsErr() || found.Ok().IsNone() {
			continue
		}
		content := input.Tree.Read("render.json", mostList)
		if content.IsErr() {
			return nil, nil, refused(content.Err())
		}
		wanted := &list{}
		if err := json.Unmarshal(content.Ok(), wanted); err != nil {
			failure := invalid("render.json", err.Error())
			return nil, nil, &failure
		}
		return input.Tree, wanted, nil
	}
	return nil, &list{}, nil
}

func jobOf(tree *trees.Tree, chart chart) (*rendering.Job, *Result) {
	archive := tree.Read(chart.Path, mostArchive)
	if archive.IsErr() {
		return nil, refused(archive.Err())
	}
	job := &rendering.Job{Archive: archive.Ok(), Name: chart.Release, Namespace: chart.Namespace}
	for _, path := range chart.Values {
		values := tree.Read(path, mostValues)
		if values.IsErr() {
			return nil, refused(values.Err())
		}
		job.Values = append(job.Values, values.Ok())
	}
	return job, nil
}

func write(output *outputs.Sink, path string, content any) *Result {
	text, err := json.Marshal(content)
	if err != nil {
		failure := invalid("json", err.Error())
		return &failure
	}
	if written := output.Write(path, text, false); written.IsErr() {
		return refused(written.Err())
	}
	return nil
}

func refused(err types.StepError) *Result {
	result := wit.Err[airgap.Summary](err)
	return &result
}

func invalid(code, message string) Result {
	failure := types.Failure{Code: code, Message: code + ": " + message, Hint: wit.None[string]()}
	return wit.Err[airgap.Summary](types.MakeStepErrorInvalidInput(failure))
}

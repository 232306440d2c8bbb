// Package step is a build step that lists the images of the package in a file.
package step

import (
	"encoding/json"
	"fmt"

	outputs "{{name}}/airgap/opencenter_airgap_outputs"
	airgap "{{name}}/airgap/opencenter_airgap_step"
	types "{{name}}/airgap/opencenter_airgap_types"
	wit "{{name}}/airgap/wit/types"
	"{{name}}/listing"
)

// The JSON Schema of `configuration` of the step. The host adds fields of its own.
const schema = `{"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}`

const limit = 8 << 20

// Describe says what the plugin is.
func Describe() airgap.Description {
	return airgap.Description{
		Name:                "{{name}}",
		Version:             "0.1.0",
		Summary:             "Lists the images of the package in a file",
		ConfigurationSchema: schema,
	}
}

// Result is what a step returns.
type Result = wit.Result[airgap.Summary, types.StepError]

// Run does the work.
func Run(context airgap.Context, configuration string, inputs []airgap.NamedTree, output *outputs.Sink) Result {
	var wanted struct{ Title string }
	if err := json.Unmarshal([]byte(configuration), &wanted); err != nil || wanted.Title == "" {
		return failed("configuration", "`title` is missing")
	}
	for _, input := range inputs {
		if input.Name != "manifests" {
			continue
		}
		// What the host refuses is an error of its own, and ends the step.
		content := input.Tree.Read("components.resolved.json", limit)
		if content.IsErr() {
			return wit.Err[airgap.Summary](content.Err())
		}
		var components struct{ Images []string }
		if err := json.Unmarshal(content.Ok(), &components); err != nil {
			return failed("components", err.Error())
		}
		written := output.Write("{{name}}.txt", []byte(listing.Listed(wanted.Title, components.Images)), false)
		if written.IsErr() {
			return wit.Err[airgap.Summary](written.Err())
		}
		count := len(components.Images)
		return wit.Ok[airgap.Summary, types.StepError](airgap.Summary{
			Message: fmt.Sprintf("%d images", count), Items: uint64(count), Unit: "images",
		})
	}
	failure := types.Failure{
		Code: "input-tree", Message: "there is no tree `manifests`",
		Hint: wit.Some("add `manifests` to `needs` of this step in config/pipeline.yaml"),
	}
	return wit.Err[airgap.Summary](types.MakeStepErrorMissingInput(failure))
}

func failed(code, message string) Result {
	failure := types.Failure{Code: code, Message: message, Hint: wit.None[string]()}
	return wit.Err[airgap.Summary](types.MakeStepErrorInvalidInput(failure))
}

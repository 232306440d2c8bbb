"""A build step that lists the images of the package in a file."""

import json

import listing
from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import step
from wit_world.imports.types import Failure, StepError_InvalidInput, StepError_MissingInput

# What `configuration` of the step may hold. The host adds fields of its own.
SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string", "description": "The first line of the file."}},
    "required": ["title"],
}
LIMIT = 8 << 20


class Step(exports.Step):
    def describe(self) -> step.Description:
        return step.Description(
            name="{{name}}",
            version="0.1.0",
            summary="Lists the images of the package in a file",
            configuration_schema=json.dumps(SCHEMA),
            wants=[],
        )

    def run(self, context, configuration, inputs, output) -> step.Summary:
        title = json.loads(configuration).get("title")
        if not title:
            raise Err(StepError_InvalidInput(Failure("configuration", "`title` is missing", None, False)))
        trees = {named.name: named.tree for named in inputs}
        if "manifests" not in trees:
            hint = "add `manifests` to `needs` of this step in config/pipeline.yaml"
            raise Err(StepError_MissingInput(Failure("input-tree", "there is no tree `manifests`", hint, False)))
        # What the host refuses is an Err of its own, and ends the step.
        components = json.loads(trees["manifests"].read("components.resolved.json", LIMIT))
        text = listing.listed(title, components["images"])
        output.write("{{name}}.txt", text.encode(), False)
        count = len(components["images"])
        return step.Summary(f"{count} images", count, "images")

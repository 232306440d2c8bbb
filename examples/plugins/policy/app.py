"""A build step that refuses images and charts that a site does not want."""

import json

import policy
import yaml
from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import step
from wit_world.imports import archives, host
from wit_world.imports.types import Failure, ItemFailure, StepError_InvalidInput, StepError_MissingInput

TEXTS = {"type": "array", "items": {"type": "string"}}
SCHEMA = {
    "type": "object",
    "properties": {
        "registries": {**TEXTS, "description": "Where images may come from: `quay.io`, `docker.io/library`."},
        "mutable_tags": {**TEXTS, "description": "Tags that are refused where no digest is named."},
        "require_digest": {"type": "boolean", "description": "Whether every image is named by its digest."},
        "licenses": {**TEXTS, "description": "SPDX identifiers that charts may have in `artifacthub.io/license`."},
    },
}
LIST = 64 << 20
CHART = 1 << 20
HINTS = {
    "registry": "name the image of an allowed registry, or allow this one in `registries` of the step",
    "digest": "write the image as `name:tag@sha256:…`",
    "mutable-tag": "name a version or a digest",
    "license": "ask who maintains the chart, or allow the licence in `licenses` of the step",
}


class Step(exports.Step):
    def describe(self) -> step.Description:
        return step.Description(
            name="policy",
            version="0.1.0",
            summary="Refuses images and charts that a site does not want",
            configuration_schema=json.dumps(SCHEMA),
            wants=[],
        )

    def run(self, context, configuration, inputs, output) -> step.Summary:
        wanted = json.loads(configuration)
        trees = {named.name: named.tree for named in inputs}
        charts = json.loads(needed(trees, "charts").read("charts.json", LIST))
        components = json.loads(needed(trees, "manifests").read("components.resolved.json", LIST))
        images = sorted(set(components["images"]).union(*(chart["images"] for chart in charts)))
        failures = []
        for image in images:
            for code, why in policy.image_failures(image, wanted):
                failures.append(failure(f"image {image}", code, why))
        if "licenses" in wanted:
            for chart in charts:
                why = policy.license_failure(license_of(trees["charts"], chart), wanted["licenses"])
                if why:
                    failures.append(failure(f"chart {chart['name']} {chart['version']}", "license", why))
        count = len(images) + len(charts)
        if failures:
            host.failed(failures)
            names = len({item.name for item in failures})
            message = f"{names} of {count} images and charts are not allowed"
            raise Err(StepError_InvalidInput(Failure("policy", message, None, False)))
        report = {"images": images, "charts": [f"{chart['name']} {chart['version']}" for chart in charts]}
        output.write("policy.json", (json.dumps(report, indent=2) + "\n").encode(), False)
        return step.Summary(f"{count} images and charts are allowed", count, "images and charts")


def needed(trees, name):
    if name not in trees:
        hint = f"add `{name}` to `needs` of this step in config/pipeline.yaml"
        raise Err(StepError_MissingInput(Failure("input-tree", f"there is no tree `{name}`", hint, False)))
    return trees[name]


def failure(name, code, why):
    return ItemFailure(name, Failure(code, why, HINTS[code], False))


def license_of(tree, chart):
    """The annotation of Chart.yaml in the chart's archive."""
    limits = archives.Limits(1 << 30, 100_000)
    with archives.unpack(tree, chart["path"], limits) as unpacked:
        text = unpacked.read(f"{chart['name']}/Chart.yaml", CHART)
    try:
        annotations = yaml.safe_load(text).get("annotations") or {}
        return str(annotations.get("artifacthub.io/license") or "")
    except (yaml.YAMLError, AttributeError) as error:
        where = f"Chart.yaml of {chart['name']} {chart['version']}"
        raise Err(StepError_InvalidInput(Failure("chart", f"{where} can not be read: {error}", None, False)))

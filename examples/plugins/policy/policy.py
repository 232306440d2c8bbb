"""What decides: plain functions, which a test calls without any host."""

import re

MUTABLE = ["latest", "main", "master", "edge", "nightly", "stable", "dev", "canary"]
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def parsed(reference):
    """Registry, repository, tag and digest of an image, as docker reads a reference."""
    rest, _, digest = reference.partition("@")
    head, slash, tail = rest.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost"):
        registry, path = head, tail
    else:
        registry, path = "docker.io", rest if slash else f"library/{rest}"
    repository, colon, tag = path.rpartition(":")
    if not colon:
        repository, tag = path, ""
    return registry, repository, tag, digest


def allowed(registry, repository, prefixes):
    """Whether one of the prefixes is the image's registry, or a folder on it."""
    full = f"{registry}/{repository}"
    return any(full == prefix or full.startswith(prefix.rstrip("/") + "/") for prefix in prefixes)


def image_failures(reference, configuration):
    """Why an image is refused: pairs of a code and a sentence."""
    registry, repository, tag, digest = parsed(reference)
    failures = []
    prefixes = configuration.get("registries")
    if prefixes is not None and not allowed(registry, repository, prefixes):
        failures.append(("registry", f"comes from `{registry}/{repository}`, which is below none of {', '.join(prefixes)}"))
    if digest:
        if not DIGEST.fullmatch(digest):
            failures.append(("digest", f"`{digest}` is no digest"))
    elif configuration.get("require_digest"):
        failures.append(("digest", "is named by no digest"))
    elif (tag or "latest") in configuration.get("mutable_tags", MUTABLE):
        said = f"the tag `{tag}`" if tag else "no tag, which is `latest`"
        failures.append(("mutable-tag", f"has {said}: it may be another image tomorrow"))
    return failures


def license_failure(expression, licenses):
    """Why a chart's licence is refused, or None. An SPDX expression is allowed where one side of an
    `OR`, or both of an `AND`, are."""
    if not expression:
        return "names no licence: Chart.yaml has no annotation `artifacthub.io/license`"
    words = re.findall(r"[()]|[^\s()]+", expression)
    try:
        is_allowed, rest = _either(words, {name.lower() for name in licenses})
    except IndexError:
        is_allowed, rest = False, words
    if rest:
        return f"has the licence `{expression}`, which is no SPDX expression"
    return None if is_allowed else f"has the licence `{expression}`, which is none of {', '.join(licenses)}"


def _either(words, licenses):
    found, words = _both(words, licenses)
    while words and words[0].upper() == "OR":
        other, words = _both(words[1:], licenses)
        found = found or other
    return found, words


def _both(words, licenses):
    found, words = _one(words, licenses)
    while words and words[0].upper() == "AND":
        other, words = _one(words[1:], licenses)
        found = found and other
    return found, words


def _one(words, licenses):
    if words[0] == "(":
        found, rest = _either(words[1:], licenses)
        if rest[0] != ")":
            raise IndexError
        return found, rest[1:]
    name, rest = words[0], words[1:]
    if rest and rest[0].upper() == "WITH":
        name, rest = " ".join([name, "WITH", rest[1]]), rest[2:]
    return name.lower() in licenses, rest

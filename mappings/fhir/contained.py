"""The rules of contained resources, natively: dom-2, dom-3, dom-4 and dom-5.

A contained resource has no life of its own: it contains none itself, is referred to from its container or refers to
it, and has neither a version, nor a time of change, nor a security label.

Source: FHIR R4 4.0.1 §2.28.1 (contained resources), constraints of DomainResource.
"""

from collections.abc import Iterator
from typing import Any, Final

from mappings.fhir.checks import Check, Finding, Found, join, under
from mappings.fhir.codec import Json

BARRED: Final = (("versionId", "dom-4"), ("lastUpdated", "dom-4"), ("security", "dom-5"))  # members of meta


def rules(check: Check, segment: str) -> Check:
    """The check of the array `contained`, whose parent is the container."""

    def checked(value: Any, container: Json) -> Found:
        found = check(value, container)
        if not isinstance(value, list):
            return found
        fragments = {text for text in strings(container) if text.startswith("#")}
        for index, inner in enumerate(value):
            if isinstance(inner, dict) and (broken := list(_broken(inner, fragments))):
                found = join(found, under(f"{segment}[{index}]", broken))
        return found

    return checked


def _broken(inner: Json, fragments: set[str]) -> Iterator[Finding]:
    """The rules that one contained resource breaks; `fragments` are the local references of the whole container."""
    if "contained" in inner:
        yield "invariant", ".contained", "is not allowed in a contained resource (dom-2)"
    if f"#{inner.get('id')}" not in fragments and "#" not in strings(inner):
        yield "invariant", "", "is not referred to, nor refers to its container (dom-3)"
    meta = inner.get("meta")
    for name, rule in BARRED:
        if isinstance(meta, dict) and name in meta:
            yield "invariant", f".meta.{name}", f"is not allowed in a contained resource ({rule})"


def strings(root: Any) -> list[str]:
    """Every string value below a node, at any depth."""
    stack, found = [root], []
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            found.append(node)
        elif isinstance(node, dict):
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)
    return found

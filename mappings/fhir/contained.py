"""The rules of contained resources, natively: dom-2, dom-3, dom-4 and dom-5.

A contained resource has no life of its own: it contains none itself, is referred to from its container or refers to it, and has
neither a version, nor a time of change, nor a security label.

Source: FHIR R4 4.0.1 §2.28.1 (contained resources), constraints of DomainResource.
"""

from collections.abc import Callable, Iterator
from typing import Any

from mappings.fhir.codec import Json

Finding = tuple[str, str, str]  # issue code, FHIRPath from here on, text; as in `validate.py`
Check = Callable[[Any, Json], list[Finding] | None]


def member(resource: Check) -> Check:
    """The check of one item of `contained`, whose parent is the container."""

    def checked(value: Any, container: Json) -> list[Finding] | None:
        found = list(resource(value, container) or ())
        if isinstance(value, dict):
            found += _rules(value, container)
        return found or None

    return checked


def _rules(inner: Json, container: Json) -> Iterator[Finding]:
    if "contained" in inner:
        yield "invariant", ".contained", "is not allowed in a contained resource (dom-2)"
    if not _linked(inner, container):
        yield "invariant", "", "is referred to from nowhere (dom-3)"
    meta = inner.get("meta")
    if isinstance(meta, dict):
        for name, rule in (("versionId", "dom-4"), ("lastUpdated", "dom-4"), ("security", "dom-5")):
            if name in meta:
                yield "invariant", f".meta.{name}", f"is not allowed in a contained resource ({rule})"


def _linked(inner: Json, container: Json) -> bool:
    """Whether the container, or what it contains, refers to a resource; or that resource to its container."""
    wanted = f"#{inner.get('id')}"
    return any(text == wanted for text in _strings(container)) or any(text == "#" for text in _strings(inner))


def _strings(root: Any) -> Iterator[str]:
    """Every string value below a node."""
    stack = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            yield node
        elif isinstance(node, dict):
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)

"""What of the resources no row has read: the paths that the message or document does not carry.

    Patient/1#contact[0].gender

A path, never a value. Identity and history of the resource itself (`id`, `meta` without its labels) and its narrative,
which repeats the rest, are no facts to carry; the address of an extension or of a reference is carried with it.
"""

from collections.abc import Iterator
from typing import Any

from mappings.outbound.reading import Json

_OWN = frozenset({"resourceType", "id", "text", "implicitRules"})
_META = frozenset({"versionId", "lastUpdated", "source", "profile"})


def left(resource: Json, used: set[Any]) -> Iterator[str]:
    """The paths of one resource that nobody read; of a resource nobody read at all, the resource."""
    name = f"{resource.get('resourceType')}/{resource.get('id', '?')}"
    facts = _facts(resource)
    used = used | {(id(facts), each) for each in facts if (id(resource), each) in used}  # booleans, by their holder
    paths = list(_left(facts, used, ""))
    if paths and not any(_read(each, used) for each in _leaves(facts)):
        yield name
        return
    for path in paths:
        yield f"{name}#{path}"


def _facts(resource: Json) -> Json:
    found = {name: each for name, each in resource.items() if name not in _OWN}
    if "meta" in found:
        found["meta"] = {name: each for name, each in found["meta"].items() if name not in _META}
    return found


def _left(value: Json, used: set[Any], path: str) -> Iterator[str]:
    for name, each in value.items():
        below = f"{path}.{name}" if path else name
        if _is_address(name, each, value) and _any_read(value, used):
            continue
        if (id(value), name) in used and not isinstance(each, dict | list):
            continue
        yield from _left_of(each, used, below)


def _is_address(name: str, each: Any, holder: Json) -> bool:
    """The url of an extension; what a Reference leads to, and of which type that is."""
    return isinstance(each, str) and (name in ("url", "reference") or (name == "type" and "reference" in holder))


def _left_of(each: Any, used: set[Any], path: str) -> Iterator[str]:
    if isinstance(each, dict) and not _any_read(each, used):
        yield path
    elif isinstance(each, dict):
        yield from _left(each, used, path)
    elif isinstance(each, list):
        for n, one in enumerate(each):
            yield from _left_of(one, used, f"{path}[{n}]")
    elif each is not None and not _read(each, used):
        yield path


def _any_read(value: Json, used: set[Any]) -> bool:
    """Whether a leaf below was read; a boolean is known by its holder."""
    return any(_read(each, used) or (id(holder), name) in used for holder, name, each in _held(value))


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _leaves(each)
    elif value is not None:
        yield value


def _held(value: Json) -> Iterator[tuple[Json, str, Any]]:
    for name, each in value.items():
        for one in each if isinstance(each, list) else [each]:
            if isinstance(one, dict):
                yield from _held(one)
            elif one is not None:
                yield value, name, one


def _read(leaf: Any, used: set[Any]) -> bool:
    return not isinstance(leaf, bool) and id(leaf) in used

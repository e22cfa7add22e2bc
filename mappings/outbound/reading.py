"""Resources as writers read them: each leaf an object of its own (`Leaf`, `Amount`, `Count`), so that what was read can
be told from an equal value elsewhere; `left.py` lists what nobody took.

Contained resources get references of their own, so that one index finds everything that was handed in.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias

import msgspec

from mappings.fhir.codec import lexeme
from mappings.fhir.values import CANONICAL

Json: TypeAlias = dict[str, Any]

_CONTAINED = f"{CANONICAL}:contained"


class Leaf(str):
    """A text of a resource, told from equal ones by being itself."""

    __slots__ = ()


class Amount(Decimal):
    """A number of a resource, likewise; `written` is its lexeme."""

    written: str

    def __new__(cls, lexeme: str) -> "Amount":
        made = super().__new__(cls, lexeme)
        made.written = lexeme
        return made


class Count(int):
    """A whole number of a resource, likewise."""


def owned(value: Any) -> Any:
    """A copy whose leaves are objects of their own."""
    if isinstance(value, dict):
        return {name: owned(each) for name, each in value.items()}
    if isinstance(value, list):
        return [owned(each) for each in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, str):
        return Leaf(value)
    if isinstance(value, int):
        return Count(value)
    if isinstance(value, Decimal | msgspec.Raw):
        return Amount(lexeme(value))
    return Amount(repr(value))  # a float, from a caller that read JSON without our codec


def prepared(resources: Sequence[Json]) -> list[tuple[str, Json]]:
    """(fullUrl, a copy whose leaves are its own) of entries of a Bundle or of resources."""
    found = []
    for n, each in enumerate(resources):
        body, url = (each["resource"], each.get("fullUrl", "")) if "resource" in each else (each, "")
        inside = {f"#{one.get('id')}": f"{_CONTAINED}:{n}:{one.get('id')}" for one in body.get("contained", ())}
        found.append((url, owned(_pointed(body, inside) if inside else body)))
    return found


def _pointed(value: Any, inside: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            name: inside.get(each, each) if name == "reference" and isinstance(each, str) else _pointed(each, inside)
            for name, each in value.items()
        }
    return [_pointed(each, inside) for each in value] if isinstance(value, list) else value


def index(found: list[tuple[str, Json]]) -> dict[str, Json]:
    """Every resource by what may refer to it."""
    known: dict[str, Json] = {}
    for n, (url, body) in enumerate(found):
        if url:
            known[url] = body
        if "id" in body:
            known[f"{body['resourceType']}/{body['id']}"] = body
        for inside in body.get("contained", ()):
            known[f"{_CONTAINED}:{n}:{inside.get('id')}"] = inside
    return known


@dataclass(slots=True)
class Taken:
    """What was read: `used` holds the leaves, by identity; booleans by their holder and name."""

    find: Callable[[str], Json | None]  # a reference → the resource handed in
    used: set[Any] = field(default_factory=set)

    def take(self, holder: Json | None, name: str) -> Any:
        """A member, marked as read; a list of texts with all of them."""
        if not holder or (value := holder.get(name)) is None:
            return None
        self.mark(value)
        if value is True or value is False:
            self.used.add((id(holder), name))
        return value

    def text(self, holder: Json | None, name: str) -> str:
        found = self.take(holder, name)
        return "" if found is None or isinstance(found, dict | list) else str(found)

    def mark(self, value: Any) -> None:
        if isinstance(value, Leaf | Amount | Count):
            self.used.add(id(value))
        elif isinstance(value, list):
            for each in value:
                self.mark(each)

    def mark_all(self, value: Any) -> None:
        """Everything below a value, for what a row says by standing where it stands."""
        if isinstance(value, dict):
            for name, each in value.items():
                self.used.add((id(value), name))
                self.mark_all(each)
        elif isinstance(value, list):
            for each in value:
                self.mark_all(each)
        else:
            self.mark(value)

    def extension(self, holder: Json | None, url: str) -> Json | None:
        """The first extension of that url, its url marked."""
        for each in (holder or {}).get("extension", ()):
            if isinstance(each, dict) and each.get("url") == url:
                self.mark(each["url"])
                return each
        return None

    def resolved(self, reference: Json | None) -> Json | None:
        """The resource that a Reference leads to; its display and type are then that resource's to tell."""
        target = self.take(reference, "reference")
        found = self.find(target) if isinstance(target, str) else None
        if found is not None:
            self.take(reference, "display")
            self.take(reference, "type")
        return found

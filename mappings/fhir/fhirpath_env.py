"""The surroundings of a FHIRPath expression: its resource, the variables, and where references lead.

Source: FHIR R4 fhirpath.html (`%resource`, `%rootResource`, `resolve()`); references.html §2.3.0.1 for their forms.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from mappings.fhir.codec import Json
from mappings.fhir.fhirpath_model import Node, resource_node
from mappings.fhir.schema import schema

UCUM: Final = "http://unitsofmeasure.org"

Resolve: TypeAlias = Callable[[str], Json | None]


@dataclass(frozen=True, slots=True)
class Env:
    """What an expression may ask about besides its focus.

    `resource` holds the focus, `root` the resource around that where it is contained (default: the same). `resolve`
    fetches what a reference points to, or gives None.
    """

    resource: Json
    root: Json | None = None
    resolve: Resolve | None = None
    context: Node | None = None

    @property
    def outermost(self) -> Json:
        """The resource that is contained in no other."""
        return self.resource if self.root is None else self.root


_REFERENCE: Final = re.compile(
    r"(?:https?://.*/)?([A-Z][A-Za-z]+)/[A-Za-z0-9.-]{1,64}(?:/_history/[A-Za-z0-9.-]{1,64})?"
)


def reference_type(text: str) -> str:
    """The resource type a literal reference names, relative or absolute; "" where it names none."""
    match = _REFERENCE.fullmatch(text)
    return match[1] if match and match[1] in schema().resource_types else ""


def resolved(value: Any, env: Env) -> Node | None:
    """What a Reference, canonical or uri points to: contained, fetched, or a resource of which only the type is
    known.
    """
    text = value.get("reference") if isinstance(value, dict) else value
    if isinstance(text, str):
        if text.startswith("#"):
            return _contained(text[1:], env)
        fetched = env.resolve(text) if env.resolve is not None else None
        if fetched is not None:
            return resource_node(fetched)
        if type_ := reference_type(text):
            return (type_, {}, None)
    named = value.get("type") if isinstance(value, dict) else None
    return (named, {}, None) if named in schema().resource_types else None


def _contained(id_: str, env: Env) -> Node | None:
    holder = env.outermost
    if not id_:
        return resource_node(holder)
    inside = holder.get("contained", ())
    return next((resource_node(one) for one in inside if one.get("id") == id_), None)

"""Where a row's target lies in the R4 schema: each step resolved to its element, or a fault that says why not.

Source: FHIR R4 4.0.1 by way of `fhir/schema.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mappings.fhir.schema import Element, Schema
from mappings.rows.table import Kind, Step

EXTENSION_BASE = "http://hl7.org/fhir/StructureDefinition/"


@dataclass(frozen=True, slots=True)
class Resolved:
    """A target path: its steps, the JSON name and FHIR type at its end."""

    steps: tuple[Step, ...]
    holder: str  # schema path of the last step's holder
    element: Element
    type: str  # FHIR type of the value; "" for a choice
    anchor: int  # the index of the first step whose element is one of a list of its own, or -1: a simple path
    names: tuple[str, ...]  # of the steps

    @property
    def last(self) -> Step:
        return self.steps[-1]

    @property
    def root(self) -> str:
        """The resource's own element: `birthDate` for `_birthDate.extension(…)…`."""
        return self.steps[0].name.removeprefix("_")


def _anchor(steps: Sequence[Step]) -> int:
    last = len(steps) - 1
    for index, step in enumerate(steps):
        if step.kind in (Kind.SLOT, Kind.EXTENSION) or (step.kind is Kind.APPEND and index < last):
            return index
    return -1


def resolve(schema: Schema, resource_type: str, steps: tuple[Step, ...]) -> Resolved:
    """The target in the schema; raises ValueError."""
    path = resource_type
    if not schema.has_children(path):
        raise ValueError(f"{path} is no resource, datatype or element of one that has elements of its own")
    done: list[Step] = []
    for index, step in enumerate(steps):
        last = index == len(steps) - 1
        element, kind, step = _step(schema, path, step, nested="extension" in path.lower())
        _check_kind(step, element, last)
        done.append(step)
        if last:
            names = tuple(each.name for each in done)
            return Resolved(tuple(done), path, element, "" if step.kind is Kind.CHOICE else kind, _anchor(done), names)
        path = "Element" if step.name.startswith("_") else kind
        if not schema.has_children(path):
            raise ValueError(f"{step.name} has no elements of its own")
    raise ValueError("target is empty")


def _step(schema: Schema, path: str, step: Step, *, nested: bool) -> tuple[Element, str, Step]:
    """(element, its type, the step with an extension's url written out)."""
    if step.kind is Kind.EXTENSION:
        element = _known(schema, path, step.name)
        url = step.key if nested or ":" in step.key else EXTENSION_BASE + step.key
        return element, "Extension", Step(Kind.EXTENSION, step.name, url)
    name = step.name.removeprefix("_")
    element = _known(schema, path, name + "[x]" if step.kind is Kind.CHOICE else name)
    kind = "" if step.kind is Kind.CHOICE else element.names.get(name, element.types[0])
    if step.name.startswith("_") and schema.has_children(kind):
        raise ValueError(f"{name} is no primitive, it has no sibling")
    return element, kind, step


def _known(schema: Schema, path: str, name: str) -> Element:
    if (element := schema.element(path, name)) is None:
        if schema.element(path, f"{name}[x]") is not None:
            raise ValueError(f"{name} is a choice: write {name}[x] or name the type")
        raise ValueError(f"{path} has no element {name}")
    return element


def _check_kind(step: Step, element: Element, last: bool) -> None:
    many = element.many
    if step.kind is Kind.CHOICE and not last:
        raise ValueError(f"{step.name}[x] ends a path")
    if step.kind in (Kind.APPEND, Kind.SLOT) and not many:
        raise ValueError(f"{step.name} holds one value, not a list")
    if step.kind is Kind.PLAIN and many:
        raise ValueError(f"{step.name} is a list: {step.name}[] appends, {step.name}[slot] names an element")

"""The few functions that compiled rows call beside the datatype functions.

Compiled code is straight-line Python over a padded list of raw fields; what is rare or would bloat it stands here. Text
arguments are raw, still escaped; separators are the message's.
"""

from typing import Any, Final

Json = dict[str, Any]

NULL: Final = '""'  # HL7's null: delete
NIL: Final = ("", NULL)  # nothing is valued here
PAD: Final = tuple(
    [""] * size for size in range(1025)
)  # fields[n] exists for every n a row asks for; 1,024 fields a segment

ABSENT: Final = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
EXTENSIONS: Final = "http://hl7.org/fhir/StructureDefinition/"


def text(raw: str, rep: str, comp: str) -> str:
    """The first component of the first repetition; "" where null."""
    found = raw.split(rep, 1)[0].split(comp, 1)[0].strip()
    return "" if found == NULL else found


def part(raw: str, rep: str, comp: str, repetition: int, component: int) -> str:
    """One component of one repetition (0: the whole repetition), counted from 1; "" where absent or null."""
    if raw in NIL:
        return ""
    repetitions = raw.split(rep)
    if repetition > len(repetitions):
        return ""
    found = repetitions[repetition - 1]
    if component:
        components = found.split(comp)
        found = components[component - 1] if component <= len(components) else ""
    return "" if found == NULL else found


def count(raw: str, rep: str) -> int:
    """How many repetitions a field has."""
    return 0 if raw in NIL else raw.count(rep) + 1


def repetitions(raw: str, rep: str) -> list[str]:
    """Each repetition; none where the field is absent or null."""
    return [] if raw in NIL else raw.split(rep)


def push(holder: Json, name: str, value: Any) -> None:
    """Appends to a list that may not be there yet."""
    if (found := holder.get(name)) is None:
        holder[name] = [value]
    else:
        found.append(value)


def put_primitive(holder: Json, name: str, found: tuple[Any, Json | None]) -> None:
    """A primitive that came with its sibling: value to `name`, extensions to `_name`."""
    value, sibling = found
    if value is not None:
        holder[name] = value
    if sibling:
        beside = holder.setdefault("_" + name, {})
        for extension in sibling.get("extension", ()):
            push(beside, "extension", extension)


def push_primitive(holder: Json, name: str, found: tuple[Any, Json | None]) -> None:
    """The same at the end of a list: nulls keep the two lists side by side."""
    value, sibling = found
    values: list[Any] = holder.setdefault(name, [])
    values.append(value)
    if sibling:
        beside: list[Any] = holder.setdefault("_" + name, [])
        beside += [None] * (len(values) - 1 - len(beside))
        beside.append(sibling)


def source_code(holder: Json, sibling: Json | None, url: str) -> None:
    """A code its required binding does not know: the sender's coding goes to the parent, no empty element stays."""
    for extension in (sibling or {}).get("extension", ()):
        concept = extension.get("valueCodeableConcept", {})
        for coding in concept.get("coding", ()):
            push(holder, "extension", {"url": url, "valueCoding": coding})


def inner_extension(holder: Json, name: str, url: str) -> Json:
    """The extension of that url inside an element, made where it is not there yet."""
    for extension in holder.setdefault(name, []):
        if extension["url"] == url:
            found: Json = extension
            return found
    made: Json = {"url": url}
    holder[name].append(made)
    return made

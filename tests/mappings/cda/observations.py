"""Observations and organizers for tests, as little as each needs."""

from typing import Any

LOINC = 'codeSystem="2.16.840.1.113883.6.1"'
SNOMED = 'codeSystem="2.16.840.1.113883.6.96"'
INTERPRETATION = 'codeSystem="2.16.840.1.113883.5.83"'
ASSERTION = '<code code="ASSERTION" codeSystem="2.16.840.1.113883.5.4"/>'
RESULTS, VITALS, SOCIAL, PREGNANCIES, FUNCTION = "30954-2", "8716-3", "29762-2", "10162-6", "47420-5"
TIME = "20260228093000+0100"


def code(value: str, system: str = LOINC) -> str:
    return f'<code code="{value}" {system} displayName="{value}"/>'


def template(root: str) -> str:
    return f'<templateId root="{root}"/>'


def at(time: str) -> str:
    """A point in time, or none."""
    return f'<effectiveTime value="{time}"/>' if time else ""


def observation(
    coded: str, value: str = "", *, id_: str = "", status: str = "completed", time: str = TIME, more: str = "",
    own: str = "",
) -> str:  # fmt: skip
    """`more` stands behind the value, `own` are attributes."""
    number = f'<id root="2.999.9" extension="{id_}"/>' if id_ else ""
    told = f'<statusCode code="{status}"/>' if status else ""
    return (
        f'<observation classCode="OBS" moodCode="EVN" {own}>{number}{coded}{told}{at(time)}{value}{more}</observation>'
    )


def measured(loinc: str, value: str, unit: str, **more: Any) -> str:
    """An observation of a quantity."""
    return observation(code(loinc), f'<value xsi:type="PQ" value="{value}" unit="{unit}"/>', **more)


def organizer(*parts: str, coded: str = "", status: str = "completed", time: str = "", more: str = "") -> str:
    told = f'<statusCode code="{status}"/>' if status else ""
    inside = "".join(f"<component>{part}</component>" for part in parts)
    return f'<organizer classCode="CLUSTER" moodCode="EVN">{coded}{told}{at(time)}{more}{inside}</organizer>'


def related(inner: str, kind: str = "COMP", own: str = "") -> str:
    return f'<entryRelationship typeCode="{kind}" {own}>{inner}</entryRelationship>'


def entry(statement: str) -> str:
    return f"<entry>{statement}</entry>"

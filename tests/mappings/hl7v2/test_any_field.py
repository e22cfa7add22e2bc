"""Whatever stands in one field of an appointment, a slot, a document or a consent: valid FHIR, or an issue.

Each field of our samples' own segments in turn holds a null, separators, a wrong date, a broken escape. Source:
architecture promise 2; design chapter HL7 v2 §16; FHIR R4 app-1 to app-4, att-1, ppc-1.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mappings.convert import load_profile, to_fhir
from mappings.fhir.invariants import broken
from mappings.fhir.validate import validate
from tests.mappings.hl7v2.messages import SAMPLES, Json

ODD = ('""', "^^^", "&&&", "~~a", "a&b^c&d~e", '"" ^x', "20251301", "\\X", "D", "ED")
SEGMENTS = frozenset({"SCH", "TQ1", "RGS", "AIS", "AIG", "AIL", "AIP", "TXA", "CON", "OBX"})
NAMES = (
    "siu-s12-booking", "siu-s13-reschedule", "siu-s14-resources-changed", "siu-s23-blocked-resources", "mdm-t02-text",
    "mdm-t02-encapsulated", "mdm-t06-addendum", "mdm-t10-replacement", "mdm-t02-consent",
)  # fmt: skip


def variants(sample: Path) -> Iterator[tuple[str, bytes]]:
    """(place and odd value, the sample with that value there)."""
    lines = sample.read_bytes().decode().split("\r")
    for index, line in enumerate(lines):
        fields = line.split("|")
        for number in range(1, len(fields) + 1) if fields[0] in SEGMENTS else ():
            for odd in ODD:
                changed = [*fields, ""]
                changed[number] = odd
                yield (
                    f"{fields[0]}-{number} {odd}",
                    "\r".join([*lines[:index], "|".join(changed), *lines[index + 1 :]]).encode(),
                )


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(found := value.get("reference"), str) and not found.startswith("#"):
            yield found
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


@pytest.mark.parametrize("name", NAMES)
def test_no_field_can_break_what_is_made_of_the_rest(name: str, tmp_path: Path) -> None:
    (tmp_path / "profile.toml").write_text(
        'name = "odd"\nnamespace = "urn:chartbridge:odd"\npolicy = { con = "map" }\n'
    )
    profile = load_profile(tmp_path)
    sample = next(path for path in SAMPLES if path.stem == name)
    for where, data in variants(sample):
        made: list[Json] = [each.body for each in to_fhir(data, profile).resources]
        known = {f"{body['resourceType']}/{body['id']}" for body in made}
        for body in made:
            assert (*validate(body), *broken(body)) == (), where
            assert set(references(body)) <= known, where

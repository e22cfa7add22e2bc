"""The fifteen traps of documents, each through the conversion of a whole one, and what no document may do to us.

The tables stand in `traps.py` and `traps_of_values.py`; what a function of ours gives for each shape is tested beside
it, in depth. Source: CDA R2; HL7 v3 datatypes R1; C-CDA R1.1 to R5; C-CDA on FHIR; eHDSI patient summary.
"""

import hashlib
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape
from zoneinfo import ZoneInfo

import pytest

from mappings.cda.document import parse
from mappings.cda.element import short
from mappings.cda.errors import UnreadableDocument
from mappings.cda.outcome import SAID
from mappings.cda.paths import STATEMENTS
from mappings.cda.write import compose_cda
from mappings.convert import bundle, to_fhir
from mappings.fhir.codec import decode, encode
from tests.mappings.cda import traps, traps_of_values
from tests.mappings.cda.cases import Case, check
from tests.mappings.cda.converted import default, of_sections, one
from tests.mappings.cda.datatypes.elements import lexeme
from tests.mappings.cda.documents import in_section, minimal
from tests.mappings.cda.narratives import harmless
from tests.mappings.cda.observations import RESULTS, SNOMED, code, entry, observation
from tests.mappings.cda.test_narrative_cannot_script import ATTACKS
from tests.mappings.cda.test_samples import SAMPLES
from tests.mappings.cda.traps import value

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("given", traps.NEGATION)
def test_negation_is_never_lost(given: Case) -> None:
    check(given)


@pytest.mark.parametrize("given", traps.ABSENCE)
def test_no_known_and_no_information_differ(given: Case) -> None:
    check(given)


@pytest.mark.parametrize("given", traps.ALLERGY)
def test_allergy_type_substance_and_severity(given: Case) -> None:
    check(given)


@pytest.mark.parametrize("given", traps.PROBLEM)
def test_problem_status_comes_from_the_right_level(given: Case) -> None:
    check(given)


@pytest.mark.parametrize("given", traps.MEDICATION)
def test_medication_mood_and_status(given: Case) -> None:
    check(given)


@pytest.mark.parametrize("given", traps.TIMING)
def test_effective_time_is_a_list(given: Case) -> None:
    check(given)


VIENNA = ZoneInfo("Europe/Vienna")
NOWHERE, SUMMER = "20240601090000", "20240501101530"
ENTRY, SECTION = (f'<author><time value="20240601080000{offset}"/></author>' for offset in ("-0500", "-0400"))
NO_DATES = ("00", "0000", "00000101", "-99", "2024-05-01", "20230229")
TIMES = [
    # what stands in its entry and its section, the time of the document, the profile's zone; what is sent and read
    pytest.param("", "", "20240601-0300", None, SUMMER + "-0700", "2024-05-01T10:15:30-07:00", "", id="its own"),
    pytest.param(ENTRY, SECTION, "20240601-0300", None, SUMMER, "2024-05-01T10:15:30-05:00", "", id="its entry's"),
    pytest.param("", SECTION, "20240601-0300", None, SUMMER, "2024-05-01T10:15:30-04:00", "", id="its section's"),
    pytest.param("", "", NOWHERE + "-0300", None, SUMMER, "2024-05-01T10:15:30-03:00", "", id="the document's"),
    pytest.param("", "", NOWHERE, VIENNA, SUMMER, "2024-05-01T10:15:30+02:00", "", id="the zone's, in summer"),
    pytest.param("", "", NOWHERE, VIENNA, "20240101101530", "2024-01-01T10:15:30+01:00", "", id="in winter"),
    pytest.param("", "", NOWHERE, None, SUMMER, "2024-05-01", "no-offset", id="none: the day"),
    pytest.param("", "", NOWHERE + "+0000", None, SUMMER, "2024-05-01T10:15:30+00:00", "", id="+0000"),
    pytest.param("", "", NOWHERE + "+0000", VIENNA, SUMMER, "2024-05-01T10:15:30+02:00", "zone-mismatch", id="lied"),
    pytest.param("", "", NOWHERE + "+0000", VIENNA, SUMMER, "2024-05-01T10:15:30+00:00", "trust", id="+0000: trusted"),
    *(pytest.param("", "", NOWHERE, VIENNA, sent, read, "", id=sent) for sent, read in (
        ("2024", "2024"), ("202405", "2024-05"), ("20240501", "2024-05-01"),
        ("2024050110", "2024-05-01T10:00:00+02:00"), ("202405011015", "2024-05-01T10:15:00+02:00"),
        (SUMMER + ".123", "2024-05-01T10:15:30.123+02:00"), ("20240501240000", "2024-05-02T00:00:00+02:00"))),
    *(pytest.param("", "", NOWHERE, VIENNA, sent, None, "not-a-date", id=sent) for sent in NO_DATES),
]  # fmt: skip


@pytest.mark.parametrize(("beside", "around", "stamp", "zone", "sent", "read", "told"), TIMES)
def test_times_without_offset(
    beside: str, around: str, stamp: str, zone: ZoneInfo | None, sent: str, read: str | None, told: str
) -> None:
    result = observation(code("94500-6"), value("260373001"), time=sent, more=beside)
    data = minimal(in_section(around + entry(result), RESULTS), effectiveTime=f'<effectiveTime value="{stamp}"/>')
    trusting = "trust" if told == "trust" else "verify"
    told = "zone-mismatch" if told == "trust" else told
    profile = replace(default(), zone=zone, cda=replace(default().cda, zero_offset=trusting))
    done = to_fhir(data, profile)
    found = one(done, "Observation")
    assert found.get("effectiveDateTime") == read
    assert {issue.code for issue in done.issues} - {"no-offset"} | ({"no-offset"} & {told}) == {told} - {""}
    if told in ("no-offset", "not-a-date") or len(sent) in (10, 12):  # what cannot be read back is kept as it was
        assert lexeme(sent) == found["_effectiveDateTime"]


@pytest.mark.parametrize("given", traps_of_values.VALUE)
def test_every_value_type(given: Case) -> None:
    check(given)


@pytest.mark.parametrize("given", traps_of_values.CODE)
def test_codes_keep_primary_and_translations(given: Case) -> None:
    check(given)


@pytest.mark.parametrize("given", traps_of_values.REPORT)
def test_report_status_time_and_specimen(given: Case) -> None:
    check(given)


@pytest.mark.parametrize("given", traps_of_values.RANGE)
def test_reference_ranges_and_interpretation(given: Case) -> None:
    check(given)


@pytest.mark.parametrize("given", traps_of_values.VITAL)
def test_vital_panels_pair_by_time(given: Case) -> None:
    check(given)


@pytest.mark.parametrize("given", traps_of_values.SOCIAL_FACT)
def test_social_facts_go_to_their_place(given: Case) -> None:
    check(given)


@pytest.mark.parametrize("given", traps_of_values.TEXT)
def test_text_references_resolve(given: Case) -> None:
    check(given)


@pytest.mark.parametrize("given", traps_of_values.IDENTITY)
def test_identity_and_context(given: Case) -> None:
    check(given)


# what no document may do to us ----------------------------------------------------------------------------------------

TEXT = minimal().decode()
WIDE = '<?xml version="1.0" encoding="UTF-16"?>'
ASKS = '<!ENTITY e SYSTEM "file:///etc/passwd">'
LONG = f'<!ENTITY e "{"x" * 50_000}">'
BOMB = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 20}">' for n in range(1, 12))
HOSTILE = {
    "a bomb of entities": f'<!DOCTYPE x [<!ENTITY e0 "x">{BOMB}]>{TEXT.replace("Ida", "&e11;")}'.encode(),
    "a bomb of one long entity": f"<!DOCTYPE x [{LONG}]>{TEXT.replace('Ida', '&e;' * 5_000)}".encode(),
    "a DOCTYPE": b"<!DOCTYPE ClinicalDocument>" + TEXT.encode(),
    "a DOCTYPE in UTF-16": f"{WIDE}<!DOCTYPE ClinicalDocument>{TEXT}".encode("utf-16"),
    "an external entity": f"<!DOCTYPE x [{ASKS}]>{TEXT.replace('Ida', '&e;')}".encode(),
    "an external DTD": f'<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">{TEXT}'.encode(),
    "a parameter entity": f'<!DOCTYPE x [<!ENTITY % p SYSTEM "file:///etc/hostname"> %p;]>{TEXT}'.encode(),
    "depth": minimal("<component>" * 300 + "</component>" * 300),
    "a million elements": minimal("<a/>" * 1_000_000),
    "a thousand attributes": minimal(f"<a {' '.join(f'a{n}=_' for n in range(1_000)).replace('_', chr(34) * 2)}/>"),
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_hostile_xml_is_refused(attack: str) -> None:
    """By the whole conversion, soon, and without a word of what stood there."""
    started = time.process_time()
    with pytest.raises(UnreadableDocument) as caught:
        to_fhir(HOSTILE[attack], default())
    assert caught.value.code in ("doctype-refused", "over-limit", "not-xml")
    assert "root:" not in str(caught.value)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("attack", ATTACKS)
def test_narrative_cannot_script(attack: str) -> None:
    """In a section, and where a statement quotes it."""
    written, _ = ATTACKS[attack]
    told = f'<text><content ID="q">{written}</content></text>'
    refers = "<text><reference value='#q'/></text>"
    done = of_sections((RESULTS, told + entry(observation(code("94500-6"), value("260373001"), more=refers))))
    divs = list(narratives_in([m.body for m in done.resources]))
    assert divs
    for div in divs:
        harmless(div)


def narratives_in(found: Any) -> Iterator[str]:
    if isinstance(found, dict):
        if isinstance(found.get("div"), str):
            yield found["div"]
        for each in found.values():
            yield from narratives_in(each)
    elif isinstance(found, list):
        for each in found:
            yield from narratives_in(each)


MARKUP = "<script>alert(1)</script>'\"&{{7*7}}]]>"


def test_display_name_cannot_inject() -> None:
    """What is a display stays one: no markup of a narrative, no member of the JSON, no element on the way back."""
    shown = escape(MARKUP, {'"': "&quot;"})
    coded = f'code="260373001" {SNOMED} displayName="{shown}"'
    statement = observation(code("94500-6"), f'<value xsi:type="CD" {coded}/>')
    done = of_sections((RESULTS, f"<title>{shown}</title>" + entry(statement)), title=f"<title>{shown}</title>")
    (coding,) = one(done, "Observation")["valueCodeableConcept"]["coding"]
    assert coding["display"] == MARKUP
    assert decode(encode(coding)) == coding
    assert one(done, "Composition")["title"] == MARKUP
    for div in narratives_in([m.body for m in done.resources]):
        harmless(div)
    written = parse(compose_cda(bundle(done), "ccd", default()))
    assert not [el for el in written.root.iter() if "script" in str(el.tag).lower()]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_tally_adds_up(sample: Path) -> None:
    """Statements in are outcomes out, each once; what was made of one is there."""
    data = sample.read_bytes()
    doc, done = parse(data), to_fhir(data, default())
    statements = Counter(str(doc.place(el)) for el in doc.root.iter("*") if short(str(el.tag)) in STATEMENTS)
    assert Counter(str(outcome.place) for outcome in done.tally) == statements
    assert {outcome.outcome for outcome in done.tally} <= set(SAID) - {"error"}
    made = {f"{m.body['resourceType']}/{m.body['id']}" for m in done.resources}
    for outcome in done.tally:
        assert not outcome.resource or outcome.resource in made
        assert outcome.outcome != "unsupported" or not outcome.resource


DIGESTS = """
import hashlib, sys
from pathlib import Path
from mappings.convert import bundle, load_profile, to_fhir
from mappings.fhir.codec import encode
for path in sys.argv[1:]:
    print(hashlib.sha256(encode(bundle(to_fhir(Path(path).read_bytes(), load_profile("default"))))).hexdigest())
"""


@pytest.fixture(scope="module")
def elsewhere() -> dict[Path, str]:
    """What each sample becomes in another process, whose hashes of words are others."""
    command = [sys.executable, "-c", DIGESTS, *map(str, SAMPLES)]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603
    return dict(zip(SAMPLES, done.stdout.split(), strict=True))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_same_input_same_bytes(sample: Path, elsewhere: dict[Path, str]) -> None:
    """Twice here, and once in another process."""
    data = sample.read_bytes()
    first, second = (encode(bundle(to_fhir(data, default()))) for _ in range(2))
    assert first == second
    assert hashlib.sha256(first).hexdigest() == elsewhere[sample]

"""The same document written otherwise says the same; a negation turned round turns that statement round, no other.

On every sample of ours, and on the corpus where it is at hand.
"""

import os
import re
from functools import cache
from pathlib import Path

import pytest

from mappings.cda.outcome import Outcome
from mappings.convert import Conversion, to_fhir
from tests.mappings.cda.converted import default
from tools.cda_variants import VARIANTS, Variant, negated_statements, says_none, says_not

ROOT = Path(__file__).parents[3]
CORPUS = Path(os.environ.get("CHARTBRIDGE_CORPUS", ROOT.parent / "shared/corpus")) / "cda"
_DOCUMENT = re.compile(rb"ClinicalDocument[^>]*urn:hl7-org:v3")
SAMPLES = sorted((ROOT / "samples/cda").glob("*.xml"))
DOCUMENTS = sorted(
    path
    for path in CORPUS.rglob("*")
    if path.suffix.lower() == ".xml" and _DOCUMENT.search(path.read_bytes()[:6_000])
)


@cache
def converted(path: Path) -> Conversion:
    return to_fhir(path.read_bytes(), default())


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda each: each.name)
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_written_otherwise_says_the_same(sample: Path, variant: Variant) -> None:
    varied = to_fhir(variant.write(sample.read_bytes()), default())
    assert variant.breaks(converted(sample), varied) == ""


@pytest.mark.corpus
@pytest.mark.skipif(not DOCUMENTS, reason="the corpus of documents is not at hand")
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda each: each.name)
def test_a_document_of_the_corpus_written_otherwise_says_the_same(variant: Variant) -> None:
    broken = {
        path.stem: breaks
        for path in DOCUMENTS
        if (breaks := variant.breaks(converted(path), to_fhir(variant.write(path.read_bytes()), default())))
    }
    assert broken == {}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_a_negation_turned_round_turns_that_statement_round_in_a_sample(sample: Path) -> None:
    assert turned_wrong(sample) == {}


@pytest.mark.corpus
@pytest.mark.skipif(not DOCUMENTS, reason="the corpus of documents is not at hand")
def test_a_negation_turned_round_turns_that_statement_round_in_the_corpus() -> None:
    assert {path.stem: wrong for path in DOCUMENTS if (wrong := turned_wrong(path))} == {}


def turned_wrong(path: Path) -> dict[str, str]:
    """Statements whose negation did not do what it must: place, and what was made of it."""
    before = converted(path)
    wrong: dict[str, str] = {}
    for place, data in negated_statements(path.read_bytes()):
        told = fault(before, to_fhir(data, default()), place)
        if told:
            wrong[place] = told
    return wrong


def fault(before: Conversion, after: Conversion, place: str) -> str:
    """What is wrong with the statement at `place` once its negation is turned round; "" if nothing is."""
    one, other = outcome(before, place), outcome(after, place)
    if one is None or other is None:
        return "no outcome"
    was, became = body_says_not(before, one), body_says_not(after, other)
    if other.outcome == "unsupported" or other.outcome in ("narrative", "merged") or not other.resource:
        return ""  # in the narrative, where it says what it says
    if one.outcome == "mapped" and not owns(before, one, place):
        return ""  # part of another statement, whose own word counts
    if was and became and no_known(before, one):
        return ""  # that there is none is said by its code, and no negation says it louder
    if one.outcome in ("unsupported", "narrative") and not became:
        return ""  # denied before, and refused; now it is stated
    return "" if was != became else f"{other.resource.partition('/')[0]} says the same as before"


def outcome(done: Conversion, place: str) -> Outcome | None:
    return next((each for each in done.tally if each.place.path == place), None)


def owns(done: Conversion, told: Outcome, place: str) -> bool:
    """Whether the statement states its resource itself, not as a part of a statement around it."""
    return not any(
        each.resource == told.resource and place.startswith(each.place.path + "/") for each in done.tally
    ) and not any(each.resource == told.resource and each.place.path.startswith(place + "/") for each in done.tally)


def no_known(done: Conversion, told: Outcome) -> bool:
    return any(says_none(m.body) for m in done.resources if f"{m.body['resourceType']}/{m.body['id']}" == told.resource)


def body_says_not(done: Conversion, told: Outcome) -> bool:
    return any(says_not(m.body) for m in done.resources if f"{m.body['resourceType']}/{m.body['id']}" == told.resource)

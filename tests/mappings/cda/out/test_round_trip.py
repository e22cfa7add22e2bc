"""CDA → FHIR → CDA → FHIR keeps every safety fact: negation, status, code, value with unit, dose, whose it is, and
"there is none" against "nobody knows". What does not come back on our samples is an exception below with its reason;
on anybody's documents nothing is lost that the writer did not tell of, and no denial appears that nobody made.

Source: design chapter CDA §16 and §20; C-CDA R2.1; eHDSI patient summary.
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from mappings.cda.errors import UnreadableDocument
from mappings.cda.handlers import HANDLERS
from mappings.cda.sections import sections
from tests.mappings.cda.out.trips import KINDS, PAIRS_OF_SAMPLES, Kind, of_file

ROOT = Path(__file__).parents[4]
IDS = [f"{path.stem}-{kind}" for path, kind in PAIRS_OF_SAMPLES]
CORPUS = Path(os.environ.get("CHARTBRIDGE_CORPUS", ROOT.parent / "shared/corpus")) / "cda"


class Waiver(NamedTuple):
    fact: str  # pattern of the fact, its parts apart by blanks
    samples: str
    reason: str


ANY = ".*"
WAIVERS = (
    Waiver(r"AllergyIntolerance \(\[\], None\) .*", ANY, "a substance nobody names: the kind of allergy is"
           " all a document says, and reads as the code"),
    Waiver(r"AllergyIntolerance .*387207008.*", "allergy-eu", "entered in error: a document does not state it"),
    Waiver(r"medication .*'1191'.*", "medication-none", "entered in error: a document does not state it"),
    Waiver(r"Condition .*386661006.*", "problems", "entered in error: a document does not state it"),
    Waiver(r"medication \(\[\], None\) (of|denied).*", ANY, "a denial of nothing that is named would deny everything"),
    Waiver(r"Observation .*(11525-3|11820-8).*", "result", "of a fetus: not the patient's own"),
    Waiver(r"Observation .*36643-5.* dataAbsentReason.*", "result", "as-text has no null flavor"),
    Waiver(r"Observation .*718-7.* referenceRange.*", "result", "a range of an age and a sex is text"),
    Waiver(r"Observation .*", "goal-and-outcome|plan-of-treatment", "plans are no part of a summary, but for drugs"),
    Waiver(r"Procedure \(\[\], None\) .*", ANY, "a procedure nobody names: its row of the narrative reads as its name"),
    Waiver(r"Procedure .*103716009.*", "device-use", "it stands among the devices, which hold no procedures"),
    Waiver(r"Observation .*45473-6.*", "directive-wishes", "wishes are no part of a summary"),
    Waiver(r"Condition .*(233604007|267036007).*", "encounter-list", "encounters are no part of a summary"),
    Waiver(r"(Observation|Condition) .*", "procedure-done", "what was found in or led to a procedure has no section"),
    Waiver(r"Procedure .*24136001.*", "procedure-done", "the side of a site is read as a part of its words, too"),
    Waiver(r"Procedure .*73761001.*", "procedure-done", "entered in error: a document does not state it"),
    Waiver(r"Observation .*ASSERTION.*421927004.*", "function", "a stage that is asserted reads as a finding"),
)  # fmt: skip

UNNUMBERED = "Patient []"  # one without a number gets the one we know the patient by


@pytest.mark.parametrize(("path", "kind"), PAIRS_OF_SAMPLES, ids=IDS)
def test_every_safety_fact_comes_back(path: Path, kind: Kind) -> None:
    lost = [" ".join(fact) for fact in of_file(path, kind).lost]
    assert [fact for fact in lost if not _waived(fact, path.stem)] == []


def _waived(fact: str, sample: str) -> bool:
    return any(re.match(each.fact, fact) and re.match(each.samples, sample) for each in WAIVERS)


def test_every_waiver_is_needed() -> None:
    lost = [(" ".join(fact), path.stem) for path, kind in PAIRS_OF_SAMPLES for fact in of_file(path, kind).lost]
    for each in WAIVERS:
        assert any(re.match(each.fact, fact) and re.match(each.samples, sample) for fact, sample in lost), each.reason


@pytest.mark.parametrize(("path", "kind"), PAIRS_OF_SAMPLES, ids=IDS)
def test_no_denial_appears_that_nobody_made(path: Path, kind: Kind) -> None:
    assert of_file(path, kind).invented == []


@pytest.mark.parametrize(("path", "kind"), PAIRS_OF_SAMPLES, ids=IDS)
def test_what_is_lost_was_told(path: Path, kind: Kind) -> None:
    assert [fact for fact in of_file(path, kind).untold if not _waived(" ".join(fact), path.stem)] == []


@pytest.mark.parametrize(("path", "kind"), PAIRS_OF_SAMPLES, ids=IDS)
def test_what_is_written_is_read_without_an_error(path: Path, kind: Kind) -> None:
    second = of_file(path, kind).second
    assert [issue.code for issue in second.issues if issue.severity == "error"] == []
    unread = [each for each in second.tally if each.outcome in ("error", "unsupported")]
    assert [each for each in unread if sections()[each.place.path[8:].partition("]")[0]].domain in HANDLERS] == []


def _of_corpus() -> list[Path]:
    return sorted(path for path in CORPUS.rglob("*") if path.suffix.lower() == ".xml") if CORPUS.is_dir() else []


@pytest.mark.corpus
def test_other_peoples_documents_lose_nothing_in_silence() -> None:
    """Every document and fragment of the corpus that can be read."""
    if not (found := _of_corpus()):
        pytest.skip("no corpus here")
    untold, invented, errors, count = [], [], [], 0
    for path, kind in ((path, kind) for path in found for kind in KINDS):
        try:
            done = of_file.__wrapped__(path, kind)
        except (UnreadableDocument, ValueError):
            continue  # malformed as published, or a fragment of a header without a patient
        else:
            count += 1
            untold += [
                (path.name, kind, fact)
                for fact in map(" ".join, done.untold)
                if not _waived(fact, "") and fact != UNNUMBERED
            ]
            invented += [(path.name, kind, *fact) for fact in done.invented]
            errors += [(path.name, kind, each.place.path) for each in done.second.tally if each.outcome == "error"]
    assert (untold, invented, errors) == ([], [], [])
    assert count > 800

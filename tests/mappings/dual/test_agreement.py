"""One record, written as C-CDA, as a European patient summary and as HL7 v2: what becomes of it is what it means,
fact for fact. What a form tells otherwise is a row of `expected.DIFFERENCES`, with its reason.

Source: design chapter CDA §18 (dual emitter).
"""

from collections.abc import Callable, Iterator
from itertools import groupby

import pytest
from hypothesis import example, given, settings

from mappings.convert import Conversion
from tests.mappings.cda.converted import convert
from tests.mappings.dual import ccda, ehdsi, v2
from tests.mappings.dual.examples import EXAMPLES, FULL, NONE, NOTHING
from tests.mappings.dual.expected import DIFFERENCES, Difference, Form, applied, meant, told
from tests.mappings.dual.facts import Fact, facts
from tests.mappings.dual.model import Record
from tests.mappings.dual.strategies import RECORDS

WRITTEN: dict[Form, Callable[[Record], list[bytes]]] = {
    "ccda": lambda record: [ccda.document(record)],
    "ehdsi": lambda record: [ehdsi.document(record)],
    "v2": v2.messages,
}
DOCUMENTS: tuple[Form, ...] = ("ccda", "ehdsi")
V2: Form = "v2"
NO_DIFFERENCE: dict[str, list[Fact]] = {"lost": [], "made up": []}


def converted(record: Record, form: Form) -> list[Conversion]:
    """Each checked against R4 on the way."""
    return [convert(data) for data in WRITTEN[form](record)]


def differs(found: frozenset[Fact], meant: frozenset[Fact]) -> dict[str, list[Fact]]:
    return {"lost": sorted(meant - found), "made up": sorted(found - meant)}


@pytest.mark.parametrize("form", WRITTEN)
@given(record=RECORDS)
@example(record=FULL)
@example(record=NONE)
@example(record=NOTHING)
@settings(max_examples=60, deadline=None)
def test_what_is_meant_is_what_becomes_of_it(form: Form, record: Record) -> None:
    assert differs(facts(converted(record, form)), told(record, form)) == NO_DIFFERENCE


@given(record=RECORDS)
@example(record=FULL)
@example(record=NONE)
@settings(max_examples=40, deadline=None)
def test_messages_and_documents_agree_on_what_both_can_say(record: Record) -> None:
    """Whatever the record means: where both tell of a statement, they tell the same of each element, but for those
    that a difference of that statement names."""
    message = facts(converted(record, "v2"))
    for form in DOCUMENTS:
        document = facts(converted(record, form))
        both = {fact[:2] for fact in message} & {fact[:2] for fact in document}
        apart = {(*fact[:2], each.element) for side in (form, V2) for each, fact in _differences(record, side)}
        assert _comparable(message, both, apart) == _comparable(document, both, apart)


def _differences(record: Record, form: Form) -> Iterator[tuple[Difference, Fact]]:
    """The differences that hold for a record's statements."""
    for _, statement in groupby(sorted(meant(record)), key=lambda fact: fact[:2]):
        for each, fact, _ in applied(list(statement), form):
            yield each, fact


def _comparable(found: frozenset[Fact], both: set[tuple[str, str]], apart: set[tuple[str, str, str]]) -> set[Fact]:
    return {fact for fact in found if fact[:2] in both and fact[:3] not in apart}


@pytest.mark.parametrize("form", WRITTEN)
@pytest.mark.parametrize("record", EXAMPLES, ids=("full", "none", "nothing"))
def test_nothing_goes_wrong_on_the_way(record: Record, form: Form) -> None:
    """No statement is refused and no value unreadable: there are only the issues that are meant."""
    noticed = {issue.code for done in converted(record, form) for issue in done.issues}
    assert noticed - NOTICED[form] == set()


# issues that are meant: a panel of which one result is still to come; the severity "unknown", a code mapped to nothing
NOTICED: dict[Form, set[str]] = {"ccda": {"status-conflict"}, "ehdsi": {"status-conflict"}, "v2": {"vocab-miss"}}


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda each: f"{each.kind}-{each.element}")
def test_every_difference_is_needed_and_has_its_reason(difference: Difference) -> None:
    assert difference.reason
    found = {(form, each) for record in EXAMPLES for form in WRITTEN for each, _ in _differences(record, form)}
    assert {(form, difference) for form in difference.forms} <= found


# what is changed in what is sent, and must be seen
CHANGES: list[tuple[Form, str, str]] = [
    ("ccda", 'negationInd="true"', 'negationInd="false"'),
    ("ccda", 'inclusive="false"', 'inclusive="true"'),
    ("ccda", 'institutionSpecified="true"', 'institutionSpecified="false"'),
    ("ccda", '"1.030"', '"1.03"'),
    ("ccda", '"24484000"', '"6736007"'),
    ("ehdsi", 'negationInd="true"', 'negationInd="false"'),
    ("ehdsi", 'code="235719002"', 'code="414285001"'),
    ("ehdsi", 'code="J01CR02"', 'code="J01CA04"'),
    ("v2", "|refuted|", "||"),
    ("v2", "|IN|", "|AL|"),
    ("v2", "|<^5|", "|^5|"),
    ("v2", "|RE", "|CP"),
    ("v2", "BID PRN", "BID"),
]  # fmt: skip


@pytest.mark.parametrize(("form", "old", "new"), CHANGES)
def test_a_change_of_what_is_sent_is_seen(form: Form, old: str, new: str) -> None:
    sent = WRITTEN[form](FULL)
    changed = [data.replace(old.encode(), new.encode()) for data in sent]
    assert changed != sent
    assert facts(map(convert, changed)) != told(FULL, form)

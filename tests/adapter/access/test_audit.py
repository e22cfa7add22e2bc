"""What the log learns: content roots, events of accesses and refusals. Ledger chapter §2 to §5, its worked example."""

from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
import pytest

from adapter.access import audit
from adapter.access.audit import Fold, Share
from adapter.access.identity import Actor, Organisation
from adapter.access.scopes import Scopes
from adapter.site import EVENT_TYPES
from ledger.commitment import SubjectKey
from ledger.event import Event, RequiresEpoch, RequiresRef
from ledger.merkle import EMPTY_ROOT
from ledger.sequence import prepare

NOW = datetime(2026, 3, 4, 9, 15, 27, tzinfo=UTC)
KEY, NOBODY = SubjectKey(7, bytes(range(32))), SubjectKey(0, bytes(32))


@dataclass(frozen=True)
class Ask:
    actor: Actor
    interaction: str = "read"
    now: datetime = NOW
    request_id: str = "r1"
    query: str = "/fhir/Observation/9c1a"


ASK = Ask(
    Actor(
        "ward",
        Organisation("urn:oid:2.999.1", "stadtklinik"),
        True,
        frozenset({"clinician"}),
        Scopes(()),
        ("TREAT", "ETREAT"),
        "",
        "j1",
        "192.0.2.7",
    )
)


def entropy(count: int) -> bytes:
    return b"\x01" * count


def shared(*lines: str) -> Share:
    return Share(7, KEY, lines, "2026:1", (RequiresRef("2026:1"), RequiresEpoch(7, 3)))


def sequenced(event: Event) -> dict[str, object]:
    """The entry that the ledger makes of it; what the type does not allow raises."""
    return prepare(event, "log.example.org/chartbridge/2026", "2026-03-04T09:15:27.123Z", EVENT_TYPES, entropy).entry


def test_the_root_of_the_worked_example() -> None:
    lines = [audit.line("r", "Patient", "5b2e", 3, b"[]"), audit.line("r", "Observation", "9c1a", 1, b"{}")]
    assert audit.content_root(lines) == "769ce3a74102fa70e3527684de221825488a0498307cb352ac397a92bb1af835"


def test_the_order_of_lines_is_not_part_of_the_root() -> None:
    lines = [audit.line("r", "Patient", name, 1, b"{}") for name in ("a", "b", "c")]
    assert audit.content_root(lines) == audit.content_root(reversed(lines))


def test_no_line_has_the_root_of_the_empty_tree() -> None:
    assert audit.content_root(()) == EMPTY_ROOT.hex()


EVENTS = {
    "a read": audit.released(ASK, "access.read", shared("r Observation/9c1a/_history/1 00"), "org", entropy),
    "a search": audit.released(ASK, "access.search", shared(), "org", entropy),
    "an empty search": audit.empty(ASK, NOBODY, "org", entropy),
    "a refusal": audit.refused(ASK, 7, KEY, "org", entropy, at=NOW),
    "a refusal of nobody": audit.refused(ASK, 0, NOBODY, "org", entropy, at=NOW),
    "a folded refusal": audit.refused(ASK, 7, KEY, "org", entropy, at=NOW, fold=Fold(3, 60)),
    "padding": audit.padding(NOBODY, "org", NOW, entropy),
    "an operator": audit.operator_acted(NOBODY, "org", NOW, entropy, actor="op", action="replay", target="m7"),
}


@pytest.mark.parametrize("name", EVENTS, ids=str)
def test_the_ledger_takes_every_event_as_it_is(name: str) -> None:
    entry = sequenced(EVENTS[name])
    assert entry["type"] == EVENTS[name].type


def test_an_entry_names_nobody_in_clear() -> None:
    for event in EVENTS.values():
        text = msgspec.json.encode(sequenced(event)).decode()
        assert not any(word in text for word in ("ward", "9c1a", "o-7", "TREAT", "192.0.2.7", "2026:1", "m7"))


def test_refusals_of_somebody_of_nobody_and_padding_have_one_shape() -> None:
    shapes = set()
    for name in ("a refusal", "a refusal of nobody", "padding"):
        entry = sequenced(EVENTS[name])
        committed = entry["c"]
        assert isinstance(committed, dict)
        shapes.add((frozenset(entry), frozenset(committed)))
    assert len(shapes) == 1


def test_a_permit_requires_its_basis_and_its_patients_epoch() -> None:
    assert EVENTS["a read"].requires == (RequiresRef("2026:1"), RequiresEpoch(7, 3))
    assert EVENTS["a read"].secret["basis"] == "2026:1"


def test_the_detail_says_in_words_what_the_entry_commits_to() -> None:
    detail = msgspec.json.decode(EVENTS["a read"].detail or b"")
    assert detail == {
        "v": 1,
        "client": "ward",
        "organisation": {"system": "urn:oid:2.999.1", "value": "stadtklinik"},
        "own": True,
        "roles": ["clinician"],
        "purposes": ["TREAT", "ETREAT"],
        "address": "192.0.2.7",
        "jti": "j1",
        "request": "r1",
        "query": "/fhir/Observation/9c1a",
        "interaction": "read",
        "outcome": "permit",
        "committed": dict(EVENTS["a read"].secret),
        "content": ["r Observation/9c1a/_history/1 00"],
    }

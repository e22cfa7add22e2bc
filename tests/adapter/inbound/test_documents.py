"""CDA documents at receipt: what is kept, what is refused, and what their senders hear (`POST /cda`, folders).

Source: CDA R2 §4.2; hl7v2 chapter §11; cda chapter §8 (versions).
"""

import json
from pathlib import Path
from typing import Any

import pytest

from adapter.errors import Forbidden, TooLarge, UnsupportedMedia
from adapter.inbound.ack import DOCUMENT_BYTES, Rules
from adapter.inbound.documents import MEDIA_TYPE, TAKEN_TYPES
from adapter.inbound.feed import feed_from
from adapter.inbound.http import Sender, document_limit_for, receive, receive_document
from adapter.inbound.intake import Intake, Outcome
from mappings.cda.document import Limits
from tests.adapter.inbound.site import ORG, Site, close_site, open_site
from tests.adapter.inbound.test_folder import names, put, rows, taken, watcher
from tests.mappings.cda.documents import LEAST, minimal

SENDER = Sender("main", may_send=True)
XML = "application/xml"
Json = dict[str, Any]

OTHER_BYTES = minimal(title="<title>Summary</title>")
TWO = minimal(recordTarget=LEAST["recordTarget"] + LEAST["recordTarget"].replace("P1", "P2"))
NOBODY = minimal(recordTarget='<recordTarget><patientRole><id nullFlavor="UNK"/></patientRole></recordTarget>')
XXE = b'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + minimal().replace(
    b"Example</family>", b"&x;</family>"
)


@pytest.fixture
def intakes(site: Site) -> dict[str, Intake]:
    stopped = feed_from({"feed": "off", "org": ORG, "profile": "off", "state": "stopped", "listen": {"kind": "http"}})
    small = site.feed("small", limits={"frame_bytes": 1024})
    return {"main": site.intake(), "off": site.intake(stopped), "small": site.intake(small)}


async def post(intakes: dict[str, Intake], data: bytes, media: str = XML) -> tuple[int, Json]:
    answered = await receive_document(SENDER, media, data, intakes)
    assert answered.media_type == MEDIA_TYPE
    said: Json = json.loads(answered.body)
    assert said["resourceType"] == "OperationOutcome"
    return answered.status, said


def codes(said: Json) -> list[tuple[str, str]]:
    return [(issue["severity"], issue["details"]["coding"][0]["code"]) for issue in said["issue"]]


async def kept(site: Site) -> list[tuple[str, tuple[str, ...]]]:
    return [(row.state, row.issues) for row in await rows(site)]


@pytest.mark.parametrize("media", [*sorted(TAKEN_TYPES), "text/xml; charset=utf-8", "Application/XML"])
async def test_a_document_is_kept_before_it_is_answered(site: Site, intakes: dict[str, Intake], media: str) -> None:
    status, said = await post(intakes, minimal(), media)
    assert (status, said["id"], codes(said)) == (200, "CB00000000000001", [("information", "accepted")])
    (row,) = await rows(site)
    assert (row.state, row.feed, len(row.patients), len(row.lanes)) == ("new", "main", 1, 1)
    assert await site.journal.body(row) == minimal()


async def test_a_document_sent_twice_hears_its_first_answer(site: Site, intakes: dict[str, Intake]) -> None:
    first = await post(intakes, minimal())
    assert await post(intakes, minimal()) == first
    assert [state for state, _ in await kept(site)] == ["new", "duplicate"]


async def test_other_bytes_under_a_known_number_are_kept_and_marked(site: Site, intakes: dict[str, Intake]) -> None:
    await post(intakes, minimal())
    status, said = await post(intakes, OTHER_BYTES)
    assert (status, codes(said)) == (200, [("information", "accepted"), ("warning", "document-id-reused")])
    assert await kept(site) == [("new", ()), ("new", ("document-id-reused",))]


@pytest.mark.parametrize("number", ["", '<id nullFlavor="UNK"/>'], ids=["without", "null"])
async def test_documents_without_a_number_are_told_apart_by_their_bytes(
    site: Site, intakes: dict[str, Intake], number: str
) -> None:
    for title in "AAB":
        await post(intakes, minimal(id=number, title=f"<title>{title}</title>"))
    assert [state for state, _ in await kept(site)] == ["new", "duplicate", "new"]


async def test_a_number_is_one_of_its_feed(site: Site, intakes: dict[str, Intake]) -> None:
    await post(intakes, minimal())
    other = {"main": site.intake(site.feed("second"))}
    await post(other, OTHER_BYTES)
    assert await kept(site) == [("new", ()), ("new", ())]


@pytest.mark.parametrize(
    ("data", "code", "kind"),
    [
        (XXE, "doctype-refused", "security"),
        (minimal().replace(b"</family>", b"</given>"), "not-xml", "structure"),
        (minimal()[:-20], "not-xml", "structure"),
        (b"", "not-xml", "structure"),
        (b"MSH|^~\\&|A\r", "not-xml", "structure"),
        (b'<html xmlns="http://www.w3.org/1999/xhtml"/>', "not-a-document", "not-supported"),
    ],
    ids=["xxe", "torn", "cut", "empty", "a message", "another root"],
)
async def test_what_is_no_document_is_refused_and_kept(
    site: Site, intakes: dict[str, Intake], data: bytes, code: str, kind: str
) -> None:
    status, said = await post(intakes, data)
    assert (status, codes(said), said["issue"][0]["code"]) == (400, [("error", code)], kind)
    assert "Example" not in json.dumps(said)
    (row,) = await rows(site)
    assert (row.state, row.issues) == ("rejected", (code,))
    assert await site.journal.body(row) == data, "for whoever replays it"


async def test_a_torn_document_is_refused_with_line_and_column(intakes: dict[str, Intake]) -> None:
    _, said = await post(intakes, minimal().replace(b"</family>", b"</given>"))
    assert "document line 8: column 63, ERR_TAG_NAME_MISMATCH" in said["issue"][0]["diagnostics"]


async def test_a_document_of_two_patients_waits_in_the_lanes_of_both(site: Site, intakes: dict[str, Intake]) -> None:
    """Nobody can say whose its statements are: its conversion quarantines it, and what follows waits behind it."""
    assert (await post(intakes, TWO))[0] == 200
    await post(intakes, minimal(id='<id root="2.999.1" extension="D2"/>'))
    both, one = await rows(site)
    assert len(both.patients) == 2
    assert set(one.patients) < set(both.patients)


async def test_a_document_of_nobody_is_kept_in_the_lane_of_its_feed(site: Site, intakes: dict[str, Intake]) -> None:
    assert (await post(intakes, NOBODY))[0] == 200
    (row,) = await rows(site)
    assert (row.state, row.patients, len(row.lanes)) == ("new", (), 1)


async def test_a_document_over_the_limit_is_not_read(site: Site, intakes: dict[str, Intake]) -> None:
    with pytest.raises(TooLarge):
        await post(intakes, b"<" + b"x" * DOCUMENT_BYTES)
    assert document_limit_for(SENDER, intakes) == DOCUMENT_BYTES == Limits().bytes
    assert document_limit_for(Sender("small", True), intakes) == 1024
    assert await rows(site) == []


@pytest.mark.parametrize("media", ["application/hl7-v2", "application/fhir+json", "text/plain", "", "xml"])
async def test_another_media_type_is_415(intakes: dict[str, Intake], media: str) -> None:
    with pytest.raises(UnsupportedMedia):
        await receive_document(SENDER, media, minimal(), intakes)


@pytest.mark.parametrize("sender", [Sender("main", False), Sender("", True), Sender("no", True), Sender("off", True)])
async def test_a_client_without_scope_or_feed_is_403(intakes: dict[str, Intake], sender: Sender) -> None:
    with pytest.raises(Forbidden):
        await receive_document(sender, XML, minimal(), intakes)
    with pytest.raises(Forbidden):
        document_limit_for(sender, intakes)


async def test_a_document_that_cannot_be_kept_is_503(site: Site, intakes: dict[str, Intake]) -> None:
    site.file._connection.execute("PRAGMA max_page_count = 1")
    status, said = await post(intakes, minimal(title=f"<title>{'x' * 9000}</title>"))
    assert (status, codes(said), said["issue"][0]["code"]) == (503, [("error", "journal-unavailable")], "transient")


class Known:
    """Outcomes that are known at once."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome

    def wait(self, seq: int, told: Any) -> None:
        told(self.outcome)


@pytest.mark.parametrize(
    ("outcome", "status", "said"),
    [
        (Outcome(1, "mapped"), 200, [("information", "mapped")]),
        (Outcome(1, "quarantined", "several-patients", "recordTarget[2]", "f1"), 422, [("error", "several-patients")]),
        (Outcome(1, "held"), 422, [("error", "held")]),
    ],
    ids=["mapped", "quarantined", "held"],
)
async def test_who_wants_to_hear_the_outcome_hears_it(
    site: Site, outcome: Outcome, status: int, said: list[tuple[str, str]]
) -> None:
    intake = site.intake(rules=Rules(after="mapped"))
    intake._outcomes = Known(outcome)
    found, answer = await post({"main": intake}, minimal())
    assert (found, codes(answer)) == (status, said)
    (row,) = await rows(site)
    assert (row.due, row.unanswered) == ("AL", True)


async def test_where_answers_go_elsewhere_a_document_is_answered_when_it_is_durable(site: Site) -> None:
    """What goes to `ack.reply_to` are HL7 v2 messages."""
    intake = site.intake(rules=Rules(after="mapped", reply_to="mllp://h:1"))
    assert (await post({"main": intake}, minimal()))[0] == 200
    assert (await rows(site))[0].due == ""


async def test_a_document_posted_as_a_message_is_no_message(site: Site, intakes: dict[str, Intake]) -> None:
    answered = await receive(SENDER, "application/hl7-v2", minimal(), intakes)
    assert answered.status == 400
    assert await kept(site) == [("rejected", ("no-header",))]


async def test_what_a_start_after_a_crash_finds_is_a_duplicate(site: Site, intakes: dict[str, Intake]) -> None:
    first = await post(intakes, minimal())
    await close_site(site)
    again = await open_site(site.folder)
    assert await post({"main": again.intake()}, minimal()) == first
    await close_site(again)


# a watched folder -----------------------------------------------------------------------------------------------------


async def test_a_document_in_a_folder_is_kept_answered_and_moved(site: Site) -> None:
    one = watcher(site)
    put(site, "summary.xml", minimal())
    await taken(one)
    assert await kept(site) == [("new", ())]
    assert names(site) == {"summary.xml.ack", "done/summary.xml"}
    said = json.loads((site.folder / "in" / "summary.xml.ack").read_bytes())
    assert codes(said) == [("information", "accepted")]


async def test_a_refused_document_is_moved_to_failed_with_its_reason(site: Site) -> None:
    one = watcher(site)
    put(site, "bad.xml", XXE)
    await taken(one)
    assert names(site) == {"bad.xml.ack", "failed/bad.xml"}
    assert codes(json.loads((site.folder / "in" / "bad.xml.ack").read_bytes())) == [("error", "doctype-refused")]


async def test_documents_and_messages_of_one_folder_keep_their_order(site: Site) -> None:
    """What a file is its bytes say, not its name."""
    from tests.adapter.inbound.site import message

    one = watcher(site, pattern=["*.hl7", "*.xml", "*.dat"])
    for name, data in (("a.dat", minimal()), ("b.xml", message("B1")), ("c.hl7", OTHER_BYTES)):
        put(site, name, data)
    await taken(one)
    assert [await site.journal.body(row) for row in await rows(site)] == [minimal(), message("B1"), OTHER_BYTES]
    assert all(name.endswith(".ack") or name.startswith("done/") for name in names(site))


async def test_a_document_over_the_limit_in_a_folder_is_refused_by_its_beginning(site: Site) -> None:
    one = watcher(site, limits={"frame_bytes": 1024, "file_bytes": 4096})
    for name, size in (("large.xml", 2_000), ("larger.xml", 9_000)):
        put(site, name, minimal(title=f"<title>{'x' * size}</title>"))
    await taken(one)
    assert await kept(site) == [("rejected", ("over-limit",))] * 2


@pytest.mark.parametrize("pattern", [[], ["a/b"], ""])
def test_a_pattern_that_takes_nothing_stops_the_feed(pattern: Any, tmp_path: Path) -> None:
    from adapter.errors import ConfigurationError

    with pytest.raises(ConfigurationError):
        feed_from(
            {"feed": "f", "org": ORG, "profile": "p", "listen": {"kind": "folder", "path": "in", "pattern": pattern}}
        )

"""`POST /hl7v2` as the API mounts it: one message, one ACK, one status. Source: hl7v2 chapter §11."""

import pytest

from adapter.errors import Forbidden, TooLarge, UnsupportedMedia
from adapter.inbound.ack import Rules
from adapter.inbound.feed import feed_from
from adapter.inbound.http import MEDIA_TYPE, Sender, limit_for, receive
from adapter.inbound.intake import Intake
from tests.adapter.inbound.site import ORG, Site, err, message, msa

SENDER = Sender("main", may_send=True)


@pytest.fixture
def intakes(site: Site) -> dict[str, Intake]:
    stopped = feed_from({"feed": "off", "org": ORG, "profile": "off", "state": "stopped", "listen": {"kind": "http"}})
    small = site.feed("small", limits={"frame_bytes": 1024})
    rules = Rules(accepts=lambda header: header.sending_application == "LABSYS")
    return {"main": site.intake(rules=rules), "off": site.intake(stopped), "small": site.intake(small)}


@pytest.mark.parametrize("media", [MEDIA_TYPE, "application/hl7-v2; charset=utf-8", "Application/HL7-V2"])
async def test_an_accepted_message_is_200_with_its_ack(site: Site, intakes: dict[str, Intake], media: str) -> None:
    answered = await receive(SENDER, media, message("MSG1"), intakes)
    assert (answered.status, answered.media_type) == (200, MEDIA_TYPE)
    assert msa(answered.body) == ["MSA", "AA", "MSG1"]
    assert [row.state for row in await site.journal.listing(10)] == ["new"]


async def test_a_duplicate_is_200_with_the_first_ack(intakes: dict[str, Intake]) -> None:
    first = await receive(SENDER, MEDIA_TYPE, message("MSG1"), intakes)
    assert await receive(SENDER, MEDIA_TYPE, message("MSG1"), intakes) == first


async def test_a_refused_message_is_400_with_its_ack(site: Site, intakes: dict[str, Intake]) -> None:
    answered = await receive(SENDER, MEDIA_TYPE, message(msh11="T"), intakes)
    assert (answered.status, err(answered.body)[5]) == (400, "processing-id")
    assert [row.state for row in await site.journal.listing(10)] == ["rejected"]


async def test_a_message_that_cannot_be_kept_is_503_with_its_ack(site: Site, intakes: dict[str, Intake]) -> None:
    site.file._connection.execute("PRAGMA max_page_count = 1")
    answered = await receive(SENDER, MEDIA_TYPE, message("MSG1", note="x" * 9000, msh15="AL"), intakes)
    assert (answered.status, msa(answered.body)[1]) == (503, "CE")


async def test_http_obeys_the_feeds_match(site: Site, intakes: dict[str, Intake]) -> None:
    answered = await receive(SENDER, MEDIA_TYPE, message(msh3="OTHER"), intakes)
    assert answered.status == 200
    assert [row.issues for row in await site.journal.read(0, 10)] == [("wrong-sender",)]


async def test_a_sender_that_wants_no_answer_gets_one_all_the_same(intakes: dict[str, Intake]) -> None:
    answered = await receive(SENDER, MEDIA_TYPE, message("1", msh15="NE"), intakes)
    assert (answered.status, msa(answered.body)[1]) == (200, "CA")


async def test_a_large_message_passes(intakes: dict[str, Intake]) -> None:
    answered = await receive(SENDER, MEDIA_TYPE, message("1", note="x" * 400_000), intakes)
    assert answered.status == 200


@pytest.mark.parametrize(
    "sender", [Sender("main", may_send=False), Sender("", may_send=True), Sender("no", True), Sender("off", True)]
)
async def test_a_client_without_scope_or_feed_is_403(site: Site, intakes: dict[str, Intake], sender: Sender) -> None:
    with pytest.raises(Forbidden):
        await receive(sender, MEDIA_TYPE, message(), intakes)
    with pytest.raises(Forbidden):
        limit_for(sender, intakes)
    assert await site.journal.listing(10) == []


async def test_another_media_type_is_415(intakes: dict[str, Intake]) -> None:
    with pytest.raises(UnsupportedMedia):
        await receive(SENDER, "application/fhir+json", message(), intakes)


async def test_a_body_over_the_limit_is_413(intakes: dict[str, Intake]) -> None:
    small = Sender("small", may_send=True)
    assert limit_for(small, intakes) == 1024
    with pytest.raises(TooLarge):
        await receive(small, MEDIA_TYPE, message(note="x" * 1024), intakes)

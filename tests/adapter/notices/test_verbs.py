"""`chartbridge subscription`: what an operator sees and sends again; no patient, no address, recorded. Docs: cli.md."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from adapter.cli.console import OPTIONS
from tests.adapter.api.conftest import observation, patient
from tests.adapter.cli.command import Command
from tests.adapter.notices.world import world


@pytest.fixture(autouse=True)
def _options() -> Iterator[None]:
    yield
    OPTIONS.site, OPTIONS.json, OPTIONS.quiet = None, False, False


@pytest.fixture
def given_up(both: None, empty_site: Path, tmp_path: Path) -> Path:
    """A site with one subscription in error and two dead letters."""

    async def live() -> None:
        async with world(empty_site, tmp_path / "node") as here:
            await here.node.put(patient())
            async with here.node.client() as ward:
                await here.make(ward)
            here.hook.answer = b"HTTP/1.1 500 No\r\n\r\n"
            await here.node.put(observation("o1"), observation("o2"))
            await here.send()
            await here.pass_by(timedelta(hours=25))
            await here.send()

    asyncio.run(live())
    return tmp_path / "node"


def test_dead_letters_are_listed_and_sent_round(given_up: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = Command(capsys, given_up)
    (one,) = command("subscription", "list", json=True).objects()
    assert (one["client"], one["topic"], one["status"]) == ("ward", "resource-changed", "error")
    assert (one["waiting"], one["dead"]) == (0, 2)
    letters = command("subscription", "dead", json=True)
    assert letters.schemas() == {"chartbridge.subscription.dead/1"}
    assert [letter["why"] for letter in letters.objects()] == ["http-500"] * 2
    assert "p1" not in letters.out + command("subscription", "list").out
    assert "hook.example.org" not in letters.out + command("subscription", "list").out
    first = letters.objects()[0]["event"]
    assert command("subscription", "replay", first, "--dry-run", json=True).objects()[0]["events"] == [first]
    assert len(command("subscription", "dead", json=True).objects()) == 2
    assert command("subscription", "replay", first, "--why", "mended", json=True).objects()[0]["events"] == [first]
    assert len(command("subscription", "dead", json=True).objects()) == 1
    (one,) = command("subscription", "list", json=True).objects()
    assert (one["status"], one["waiting"], one["dead"]) == ("requested", 2, 1)  # the handshake, and it
    number = str(one["subscription"])
    assert command("subscription", "replay", "--subscription", number).code == 0
    assert command("subscription", "dead").out == ""


def test_what_was_not_given_up_cannot_be_sent_round(given_up: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = Command(capsys, given_up)
    assert command("subscription", "replay").code == 2
    assert command("subscription", "replay", "nothing").code == 2
    assert command("subscription", "replay", "018f0000-0000-7000-8000-000000000000").code == 5

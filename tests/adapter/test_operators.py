"""What operators do: recorded before it is done, whole or not at all, and never twice (ledger chapter §5)."""

import asyncio
from pathlib import Path

import pytest

from adapter import feed_acts, operators
from adapter.errors import ConfigurationError, Conflict, NotFound
from adapter.node import running
from adapter.site import Site, open_site
from adapter.store import messages
from ledger.event import decode
from tests.adapter.nodes import STRANGE, STRICT, a08, node_with, profile, send

LAB = 'feed = "lab"\norg = "stadtklinik"\nprofile = "default"\n[listen]\nport = 2599\n'


async def acts(site: Site) -> int:
    entries = await site.ledger.entries(0, site.ledger.size)
    return sum(decode(entry.body)["type"] == "operator.acted" for entry in entries)


async def test_an_applied_feed_is_recorded_and_lies_there_as_it_was_checked(fresh_site: Path, tmp_path: Path) -> None:
    (tmp_path / "anything.toml").write_text(LAB, "utf-8")
    async with open_site(fresh_site) as site:
        feed, ref = await feed_acts.apply_feed(site, tmp_path / "anything.toml", "ada")
        assert (feed.name, await acts(site)) == ("lab", 1)
        assert ref == f"{site.ledger.shard}:{site.ledger.size - 1}"
    assert (fresh_site / "feeds" / "lab.toml").read_text("utf-8") == LAB
    assert sorted(path.name for path in (fresh_site / "feeds").iterdir()) == ["lab.toml", "main.toml"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LAB.replace("profile = ", "profil = "), "did you mean profile"),
        (LAB.replace('"default"', '"nowhere"'), "no profile nowhere"),
        (LAB.replace("stadtklinik", "other"), "org is not this node's"),
        (LAB.replace("port = 2599", 'host = "0.0.0.0"\nport = 2599'), "open to everyone"),
        (LAB.replace("2599", "2600"), "port 2600 is that of the feed other"),
    ],
)
async def test_a_feed_that_could_not_run_is_neither_placed_nor_recorded(
    fresh_site: Path, tmp_path: Path, text: str, said: str
) -> None:
    other = LAB.replace('"lab"', '"other"').replace("2599", "2600")
    (fresh_site / "feeds" / "other.toml").write_text(other, "utf-8")
    (tmp_path / "lab.toml").write_text(text, "utf-8")
    async with open_site(fresh_site) as site:
        with pytest.raises(ConfigurationError, match=said):
            await feed_acts.apply_feed(site, tmp_path / "lab.toml", "ada")
        assert await acts(site) == 0
    assert sorted(path.name for path in (fresh_site / "feeds").iterdir()) == ["main.toml", "other.toml"]


async def test_a_feed_is_replaced_where_it_lies_whatever_its_file_is_called(fresh_site: Path, tmp_path: Path) -> None:
    (fresh_site / "feeds" / "main.toml").rename(fresh_site / "feeds" / "10-first.toml")
    changed = (fresh_site / "feeds" / "10-first.toml").read_text("utf-8") + '\n[policy]\npoison = "skip"\n'
    (tmp_path / "x.toml").write_text(changed, "utf-8")
    async with open_site(fresh_site) as site:
        await feed_acts.apply_feed(site, tmp_path / "x.toml", "ada")
    assert {path.name: path.read_text("utf-8") for path in (fresh_site / "feeds").iterdir()} == {
        "10-first.toml": changed
    }


async def test_of_two_operators_who_replay_the_same_message_one_is_told(fresh_site: Path) -> None:
    profile(fresh_site, STRICT, "strict")
    async with node_with(fresh_site, [a08("1", "11", sender=STRANGE)]) as node:
        both = await asyncio.gather(
            *(operators.replay(node.site, node.journal, [1], who, "again") for who in ("ada", "bob")),
            return_exceptions=True,
        )
    assert [type(one) for one in both if not isinstance(one, list)] in ([Conflict], [NotFound])
    assert [one for one in both if isinstance(one, list)] == [[1]]


async def test_only_what_waits_for_a_person_can_be_sent_round_again(fresh_site: Path) -> None:
    async with running(fresh_site) as node:
        await send(node, a08("1", "11"), a08("1", "11"))
        for seq in (1, 2, 99):
            with pytest.raises(NotFound):
                await operators.replay(node.site, node.journal, [seq], "ada", "why not")
        assert await acts(node.site) == 0


async def test_one_error_group_is_replayed_together_and_the_act_is_on_the_ledger_first(fresh_site: Path) -> None:
    profile(fresh_site, STRICT, "strict")
    bodies = [a08("1", "11", sender=STRANGE), a08("2", "12", sender=STRANGE), a08("3", "13")]
    async with node_with(fresh_site, bodies) as node:
        ((fingerprint, *_),) = await node.site.store.read(lambda conn: messages.groups(conn, node.site.org))
        assert await operators.by_fingerprint(node.site, fingerprint) == [1, 2]
        assert await operators.replay(node.site, node.journal, [1, 2], "ada", "again") == [1, 2]
        assert await acts(node.site) == 1
        steps = await node.site.store.read(lambda conn: messages.transitions(conn, node.site.org, 1))
        assert ("new", "ada", "again", 2) in [(step.to_state, step.who, step.why, step.attempt) for step in steps]

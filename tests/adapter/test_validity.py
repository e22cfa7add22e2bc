"""A feed decides whether what its messages become has to keep R4's constraints, or its schema alone."""

from pathlib import Path

from adapter.store import messages
from tests.adapter.nodes import STRICT, a08, feed, node_with, profile, states, why

# A row of the site's own that makes what R4 forbids: data without a type (att-1).
ROW = "id,source,when,target,type,vocab,value,note\nPID.Patient:3x,PID-3,,photo[p].data,=,,AAAA,\n"


def breaking(site: Path) -> None:
    profile(site, STRICT, "strict")
    (site / "profiles" / "strict" / "segments").mkdir()
    (site / "profiles" / "strict" / "segments" / "PID.Patient.csv").write_text(ROW, "utf-8")


async def test_what_breaks_a_constraint_waits_for_a_person_who_reads_which_and_where(fresh_site: Path) -> None:
    breaking(fresh_site)
    feed(fresh_site, "[policy]\ninvariants = true\n")
    async with node_with(fresh_site, [a08("1", "11")]) as node:
        assert await states(node) == {1: messages.QUARANTINED}
        assert (await why(node, 1))[-1] == ("quarantined", "invalid-resource Patient.photo[0] att-1")


async def test_a_feed_is_held_to_the_schema_alone_unless_it_asks_for_more(fresh_site: Path) -> None:
    breaking(fresh_site)
    async with node_with(fresh_site, [a08("1", "11")]) as node:
        assert await states(node) == {1: messages.DELIVERED}

"""The last receipt from the log, remembered outside the log (ledger chapter §15)."""

from adapter.store import seen
from tests.adapter.store.conftest import ORG, Site


async def test_only_the_newest_receipt_of_each_shard_is_kept(site: Site) -> None:
    for ref, leaf in (("2026:7", b"a"), ("2026:9", b"b"), ("2026:8", b"c"), ("2027:0", b"d")):
        await site.write(lambda conn, ref=ref, leaf=leaf: seen.remember(conn, ORG, ref, leaf))  # type: ignore[misc]
    assert await site.read(lambda conn: seen.newest(conn, ORG)) == [("2026:9", b"b"), ("2027:0", b"d")]
    assert await site.read(lambda conn: seen.newest(conn, "other")) == []

"""Messages that other people published, sent to a node: each is mapped, quarantined or rejected with its reason, and
none is lost. Found through CHARTBRIDGE_CORPUS; data only, nothing of it is copied here.
"""

import asyncio
import re
from collections import Counter
from pathlib import Path

import pytest

from adapter.inbound.mllp import frame
from adapter.node import Node, running
from adapter.store import messages
from tests.adapter.nodes import HOST, states, why
from tests.mappings.hl7v2.test_corpus import MESSAGES, needs_corpus

_PROCESSING = re.compile(rb"(?:[^|]*\|){10}([^|^]*)")  # MSH-11.1


def is_for_training(data: bytes) -> bool:
    """A sender that says so (T, D) has to be allowed by the profile: nothing of it is to stand beside real patients."""
    found = _PROCESSING.match(data[data.index(b"MSH") :])
    return found is not None and found[1] != b"P"


async def until(node: Node, seq: int) -> None:
    """Until so many are in the journal."""
    async with asyncio.timeout(10):
        for _ in iter(lambda: node.journal.last < seq, False):
            await asyncio.sleep(0.001)


@pytest.mark.corpus
@needs_corpus
async def test_every_message_is_mapped_quarantined_or_rejected_with_its_reason(fresh_site: Path) -> None:
    bodies = [path.read_bytes() for path in MESSAGES]
    async with running(fresh_site) as node:
        _, writer = await asyncio.open_connection(HOST, node.mllp_port("main"))
        for seq, body in enumerate(bodies, 1):  # some want no answer
            writer.write(frame(body))
            await until(node, seq)
        writer.close()
        await node.settled()
        kept = await node.journal.listing(1_000)
        became = await states(node)
        reasons = {seq: (await why(node, seq))[-1] for seq in became}
    by_seq = {row.seq: row for row in kept}
    assert sorted(by_seq) == list(range(1, len(bodies) + 1)), "none is lost, and none is two"
    refused = {seq for seq, row in by_seq.items() if row.state == "rejected"}
    assert {seq for seq, data in enumerate(bodies, 1) if is_for_training(data)} == refused
    assert {issue for seq in refused for issue in by_seq[seq].issues} == {"processing-id"}
    duplicates = {seq for seq, row in by_seq.items() if row.state == "duplicate"}
    assert set(became) | refused | duplicates == set(by_seq)
    assert set(became.values()) <= {messages.DELIVERED, messages.QUARANTINED, messages.HELD}
    assert Counter(became.values())[messages.DELIVERED] > 60
    assert all(reason for seq, (_, reason) in reasons.items() if became[seq] != messages.DELIVERED)

"""Every permit of a log, opened, and whether it was justified when it was sequenced (ledger chapter §13, replay).

Written apart from the product's own replay, so that one may find what the other overlooks.
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from adapter.access import audit
from adapter.node import Node
from ledger.commitment import SubjectKey, field_salt, opens
from ledger.event import decode, parse_reference
from ledger.store.base import Entry

GRANTING = frozenset({"policy.adopted", "consent.granted", "consent.amended"})


@dataclass(frozen=True, slots=True)
class Permit:
    """One entry that let something out: its place in the log, whose data, who asked, and on what basis."""

    index: int
    subject: int
    client: str
    basis: str
    lines: tuple[str, ...]


async def permits(node: Node) -> list[Permit]:
    """All of them, in order. Raises AssertionError where a detail says otherwise than its entry commits to."""
    found = []
    for entry in await node.site.ledger.entries(0, node.site.ledger.size):
        said = decode(entry.body)
        if said["type"].startswith("access.") and said.get("outcome") == "permit":
            found.append(await _open(node, entry, said))
    return found


async def _open(node: Node, entry: Entry, said: dict[str, Any]) -> Permit:
    detail = (await node.site.vault.details([entry.id]))[entry.id]
    await node.site.keyring.load((detail.subject,))
    key: SubjectKey = node.services.gate.subject_key(detail.subject)
    opened = await node.site.ledger.detail(said["id"], key)
    assert opened is not None
    facts = msgspec.json.decode(opened)
    told: dict[str, str] = facts["committed"]
    assert told["actor"] == facts["client"]
    assert told["content"] == audit.content_root(facts["content"])
    assert told.keys() == said["c"].keys()
    for name, value in told.items():
        assert opens(said["c"][name], field_salt(key, entry.id, name), name, value.encode()), name
    return Permit(entry.index, detail.subject, told["actor"], told["basis"], tuple(facts["content"]))


async def unjustified(node: Node) -> list[Permit]:
    """Permits whose basis came later, grants nothing, or had ended."""
    ledger = node.site.ledger
    kinds = {entry.index: decode(entry.body)["type"] for entry in await ledger.entries(0, ledger.size)}
    found = await permits(node)
    ended = await ledger.ended(sorted({permit.basis for permit in found}))
    wrong = []
    for permit in found:
        _, basis = parse_reference(permit.basis)
        end = parse_reference(ended[permit.basis])[1] if permit.basis in ended else None
        if basis >= permit.index or kinds[basis] not in GRANTING or (end is not None and end < permit.index):
            wrong.append(permit)
    return wrong

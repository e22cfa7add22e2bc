"""Master files name no patient: all that they say is shared, and it goes through a node like any other message.

Source: design chapter HL7 v2 §4 (MFN, PMU); fhir chapter §5 (owner rule).
"""

from pathlib import Path

from adapter.node import Node
from adapter.seal.keyring import SHARED
from adapter.store import messages
from adapter.store.engine import Hot
from tests.adapter.nodes import node_with, states

SAMPLES = Path(__file__).parents[2] / "samples/hl7v2"
OF_NOBODY = {"Practitioner", "PractitionerRole", "Location", "Organization"}


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.hl7").read_bytes().replace(b"\n", b"\r")


async def owned(node: Node) -> dict[str, set[bool]]:
    """Type of each stored resource → whether the organisation's shared key seals it."""
    rows = await node.site.store.read(lambda conn: Hot(conn).all("SELECT type, owner FROM resource"))
    found: dict[str, set[bool]] = {}
    for kind, owner in rows:
        found.setdefault(str(kind), set()).add(owner == SHARED)
    return found


async def test_a_master_file_is_delivered_and_shared(fresh_site: Path) -> None:
    names = ("mfn-m02-staff", "mfn-m05-places", "pmu-b01-staff-added", "pmu-b08-certificate-revoked")
    async with node_with(fresh_site, [sample(name) for name in names]) as node:
        assert await states(node) == dict.fromkeys(range(1, len(names) + 1), messages.DELIVERED)
        found = await owned(node)
        assert found.keys() >= OF_NOBODY
        assert {kind: shared for kind, shared in found.items() if shared != {True}} == {}


async def test_problems_charges_and_referrals_are_their_patients(fresh_site: Path) -> None:
    names = (
        "ppr-pc1-problem-list",
        "dft-p03-charges",
        "bar-p01-account",
        "ref-i12-referral",
        "ppr-pc3-problem-deleted",
    )
    async with node_with(fresh_site, [sample(name) for name in names]) as node:
        assert await states(node) == dict.fromkeys(range(1, len(names) + 1), messages.DELIVERED)
        found = await owned(node)
        hers = {"Condition", "Goal", "CarePlan", "CareTeam", "ChargeItem", "Account", "ServiceRequest", "ClaimResponse"}
        assert {kind: found[kind] for kind in hers} == {key: {False} for key in hers}

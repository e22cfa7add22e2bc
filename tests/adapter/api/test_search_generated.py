"""Generated searches equal a matcher that looks at everything: the same ids, the same totals; what is unsupported is
400. FHIR R4 search.html; fhir chapter §4, §6, §14.

A run asks as many questions as fit into a few seconds. `SEARCHES=2000 pytest tests/adapter/api/
test_search_generated.py` asks that many; `SEARCH_SEED` asks others.
"""

import os
import random
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest

from mappings.fhir.codec import decode
from tests.adapter.api.conftest import Node, consent
from tests.adapter.api.naive import COMPOSITES, META, PLACES, World, owner
from tests.adapter.api.population import (
    CHAINS,
    CODES,
    HAS,
    LOINC,
    PATIENTS,
    UNSUPPORTED,
    Json,
    Pairs,
    amount,
    criterion,
    population,
)

SEARCHES = int(os.environ.get("SEARCHES", "200"))
SEED = int(os.environ.get("SEARCH_SEED", "20250304"))
OPEN = ("Patient/p0", "Patient/p1", "Patient/p2")  # whose consents let north in


def question(dice: random.Random) -> tuple[str, str, Pairs, bool]:
    """A type, an address, its parameters, and whether the address is a compartment."""
    kind, whose = dice.choice(list(PLACES)), dice.choice(PATIENTS)
    places = PLACES[kind] | META
    pairs: Pairs = [criterion(dice, kind, whose, places) for _ in range(dice.choice([0, 1, 1, 2, 3]))]
    if CHAINS[kind] and dice.random() < 0.25:
        pairs.append(chain(dice, kind, whose))
    if HAS[kind] and dice.random() < 0.25:
        way, source = dice.choice(HAS[kind])
        name, value = criterion(dice, source, whose, PLACES[source])
        pairs.append((f"_has:{way}:{name}", value))
    if kind == "Observation" and dice.random() < 0.2:
        code = dice.choice([dice.choice(CODES), f"{LOINC}|{dice.choice(CODES)}"])
        pairs.append((dice.choice(list(COMPOSITES)), f"{code}${amount(dice)}"))
    inside = kind != "Patient" and dice.random() < 0.3
    if kind == "Patient":
        pairs.append(("_id", ",".join(dice.sample([*PATIENTS, "nobody"], 4))))
    elif not inside:
        pairs.append(anchor(dice, whose))
    dice.shuffle(pairs)
    return kind, f"/fhir/Patient/{whose}/{kind}" if inside else f"/fhir/{kind}", pairs, inside


def anchor(dice: random.Random, whose: str) -> tuple[str, str]:
    both = f"{whose},Patient/{dice.choice(PATIENTS)}"
    return dice.choice(
        [
            ("patient", whose),
            ("patient", both),
            ("subject", f"Patient/{whose}"),
            ("subject:Patient", whose),
            ("patient.identifier", f"urn:oid:2.999.1.1|MR-{whose}"),
        ]
    )


def chain(dice: random.Random, kind: str, whose: str) -> tuple[str, str]:
    name = dice.choice(CHAINS[kind])
    way = {"encounter": "Encounter", "part-of": "Encounter", "patient": "Patient", "subject": "Patient"}
    *heads, last = name.split(".")
    target = heads[-1].partition(":")[2] or way.get(heads[-1], "")
    if target == "Practitioner":
        return name, "d0"
    renamed, value = criterion(dice, target, whose, PLACES[target] | META, last)
    return f"{'.'.join(heads)}.{renamed}", value


def world(node: Node, found: list[Json], client: str) -> World:
    resources = {f"{one['resourceType']}/{one['id']}": one for one in found}
    sees = (lambda one: True) if client == "ward" else (lambda one: owner(one) in OPEN)
    return World(resources, node.services.zone, sees)


async def filled(node: Node) -> list[Json]:
    """The population as it stands in the store."""
    await node.put(*population(SEED))
    async with node.client() as ward:
        for name in OPEN:
            made = await ward.post("/fhir/Consent", json=consent(of=name.removeprefix("Patient/")))
            assert made.status_code == 201
        found = []
        for one in population(SEED):
            found.append(decode((await ward.get(f"/fhir/{one['resourceType']}/{one['id']}")).content))
    return found


@pytest.mark.usefixtures("both")
async def test_generated_searches_equal_a_matcher_that_looks_at_everything(node: Node) -> None:
    dice = random.Random(SEED)
    stored = await filled(node)
    matched = 0
    async with node.client("ward") as ward, node.client("north") as north:
        for number in range(SEARCHES):
            name, client = dice.choice([("ward", ward), ("ward", ward), ("north", north)])
            kind, address, pairs, inside = question(dice)
            now = datetime.now(UTC)
            asked = [*pairs, ("patient", address.split("/")[3])] if inside else pairs
            expected = world(node, stored, name).search(kind, asked, now)
            shown = dice.choice([[], [], [("_count", "3")], [("_sort", "-_lastUpdated,_id")], [("_count", "0")]])
            url = f"{address}?{urlencode([*pairs, *shown, *([('_total', 'accurate')])])}"
            found, total = [], None
            while url:
                answer = await client.get(url)
                assert answer.status_code == 200, (number, name, kind, address, pairs, answer.text)
                page = decode(answer.content)
                total = page.get("total", total)
                found += [entry["resource"]["id"] for entry in page.get("entry", ())]
                url = next((link["url"] for link in page["link"] if link["relation"] == "next"), "")
                url = url.removeprefix(node.services.base.removesuffix("/fhir"))
            about = (number, name, kind, address, pairs)
            assert total == len(expected), (*about, sorted(expected), sorted(found))
            if shown != [("_count", "0")]:
                assert sorted(found) == sorted(expected), about
            matched += bool(expected)
    assert matched > SEARCHES / 5, "most questions should find something, or they prove little"


async def test_what_is_unsupported_is_refused_whatever_stands_beside_it(node: Node) -> None:
    dice = random.Random(SEED + 1)
    await node.put(*population(SEED)[:12])
    async with node.client() as ward:
        for number in range(max(SEARCHES // 8, len(UNSUPPORTED))):
            kind, address, pairs, _ = question(dice)
            bad = UNSUPPORTED[number % len(UNSUPPORTED)]
            while bad[0].split(":")[0].split(".")[0] in ("code", "status", "encounter", "date", "subject") and (
                kind != "Observation"
            ):
                kind, address, pairs, _ = question(dice)
            pairs.insert(dice.randrange(len(pairs) + 1), bad)
            answer = await ward.get(f"{address}?{urlencode(pairs)}")
            assert answer.status_code == 400, (kind, pairs, answer.text)
            issue = decode(answer.content)["issue"][0]
            assert issue["code"] in ("not-supported", "invalid", "value", "too-costly"), (pairs, issue)


@pytest.mark.parametrize("seed", [SEED, SEED + 1, SEED + 2])
def test_the_population_is_the_same_in_every_run(seed: int) -> None:
    assert population(seed) == population(seed)

"""What a search includes and follows to: _include, _revinclude, chains, _has; each through the gate.

FHIR R4 search.html §3.1.1.4.4, §3.1.1.5.4; access chapter §6 (step 7); fhir chapter §4, §10.
"""

from collections.abc import Iterable

import pytest

from adapter.api import includes
from tests.adapter.api.conftest import Json, Node, consent, observation, patient
from tests.adapter.api.test_search import SODIUM, bundle, ids, next_of, stay

POTASSIUM = "2823-3"


def doctor(logical_id: str = "d1", family: str = "Kern") -> Json:
    return {"resourceType": "Practitioner", "id": logical_id, "name": [{"family": family}]}


def to(reference: str) -> Json:
    return {"reference": reference}


async def fill(node: Node) -> None:
    """p1 with two stays, one inside the other; a result of hers rests on one of p2; a doctor made both."""
    await node.put(
        doctor(),
        patient("p1"),
        stay("e1"),
        stay("e2") | {"partOf": to("Encounter/e1")},
        patient("p2", family="Anders"),
        observation("x1", of="p2", code=POTASSIUM, performer=[to("Practitioner/d1")]),
        observation("o1", encounter=to("Encounter/e2"), performer=[to("Practitioner/d1")]),
        observation("o2", code=SODIUM, encounter=to("Encounter/e1"), derivedFrom=[to("Observation/x1")]),
    )


def beside(found: Json) -> list[str]:
    entries = [entry for entry in found.get("entry", []) if entry["search"]["mode"] == "include"]
    return sorted(f"{entry['resource']['resourceType']}/{entry['resource']['id']}" for entry in entries)


SHOWN: dict[str, tuple[Iterable[str], Iterable[str]]] = {
    "Observation?patient=p1&_include=Observation:encounter": (["o1", "o2"], ["Encounter/e1", "Encounter/e2"]),
    "Observation?_id=o1&_include=Observation:encounter": (["o1"], ["Encounter/e2"]),
    "Observation?_id=o1&_include=Observation:encounter&_include:iterate=Encounter:part-of": (
        ["o1"],
        ["Encounter/e1", "Encounter/e2"],
    ),
    "Observation?_id=o1&_include=Observation:encounter&_include=Encounter:part-of": (["o1"], ["Encounter/e2"]),
    "Observation?_id=o1&_include=Observation:subject": (["o1"], ["Patient/p1"]),
    "Observation?_id=o1&_include=Observation:subject:Group": (["o1"], []),
    "Observation?_id=o1&_include=Observation:performer&_include=Observation:patient": (
        ["o1"],
        ["Patient/p1", "Practitioner/d1"],
    ),
    "Encounter?_id=e1&_revinclude=Observation:encounter": (["e1"], ["Observation/o2"]),
    "Encounter?_id=e1&_revinclude=Encounter:part-of&_revinclude:iterate=Observation:encounter": (
        ["e1"],
        ["Encounter/e2", "Observation/o1", "Observation/o2"],
    ),
    "Patient?_id=p1&_revinclude=Observation:patient": (["p1"], ["Observation/o1", "Observation/o2"]),
    "Observation?patient=p1&_include=Observation:derived-from": (["o1", "o2"], ["Observation/x1"]),
    "Observation?_id=o2,x1&_include=Observation:derived-from": (["o2", "x1"], []),
    "Observation?_id=o1&_count=0&_include=Observation:encounter": ([], []),
    "Observation?patient=p1&encounter.part-of=e1": (["o1"], []),
    "Observation?patient=p1&encounter.status=finished": (["o1", "o2"], []),
    "Observation?patient=p1&encounter:Encounter.status=planned": ([], []),
    "Observation?patient=p1&encounter.part-of.status=finished": (["o1"], []),
    "Observation?patient=p1&performer:Practitioner.name=ker": (["o1"], []),
    "Observation?patient=p1&subject:Patient.family=must": (["o1", "o2"], []),
    "Observation?patient=p1&patient.identifier=MR-p2": ([], []),
    f"Observation?patient=p1&derived-from:Observation.code={POTASSIUM}": (["o2"], []),
    f"Observation?_id=x1&_has:Observation:derived-from:code={SODIUM}": ([], []),
    f"Patient?_id=p1,p2&_has:Observation:patient:code={SODIUM}": (["p1"], []),
    f"Encounter?patient=p1&_has:Observation:encounter:code={SODIUM}": (["e1"], []),
    "Encounter?patient=p1&_has:Observation:encounter:code:not=2160-0": (["e1"], []),
    "Encounter?patient=p1&_has:Encounter:part-of:status=finished": (["e1"], []),
}


@pytest.mark.usefixtures("both")
@pytest.mark.parametrize("url", SHOWN, ids=str)
async def test_a_search_follows_references_both_ways(node: Node, url: str) -> None:
    await fill(node)
    async with node.client() as ward:
        found = await bundle(ward, f"/fhir/{url}")
    assert (sorted(ids(found)), beside(found)) == tuple(map(list, SHOWN[url]))
    if "_count" not in url:
        assert found["total"] == len(ids(found))


# north may see p1, not p2
HIDDEN: dict[str, tuple[list[str], list[str]]] = {
    "Observation?patient=p1&_include=Observation:derived-from": (["o1", "o2"], []),
    f"Observation?patient=p1&derived-from:Observation.code={POTASSIUM}": ([], []),
    "Observation?patient=p1&derived-from:Observation.patient.family=Anders": ([], []),
    "Observation?_id=x1&_include=Observation:patient": ([], []),
    f"Patient?_id=p1,p2&_has:Observation:patient:code={POTASSIUM}": ([], []),
    "Patient?_id=p1,p2&_revinclude=Observation:patient": (["p1"], ["Observation/o1", "Observation/o2"]),
    "Observation?patient.identifier=MR-p2": ([], []),
    "Patient?_id=p1&_revinclude=Consent:patient": (["p1"], []),
    "Patient?_id=p1&_has:Consent:patient:status=active": ([], []),
}


@pytest.mark.parametrize("url", HIDDEN, ids=str)
async def test_what_is_hidden_comes_by_no_way_around(node: Node, url: str) -> None:
    await fill(node)
    async with node.client() as ward, node.client("north") as north:
        assert (await ward.post("/fhir/Consent", json=consent())).status_code == 201
        found = await bundle(north, f"/fhir/{url}")
    assert (sorted(ids(found)), beside(found)) == HIDDEN[url]
    assert found["total"] == len(ids(found))


async def test_a_chain_to_the_hidden_answers_like_one_to_the_absent(node: Node) -> None:
    await fill(node)
    headers = {"X-Request-Id": "same"}
    async with node.client("north") as north, node.client() as ward:
        await ward.post("/fhir/Consent", json=consent())
        hidden = await north.get(f"/fhir/Observation?patient=p1&derived-from.code={POTASSIUM}", headers=headers)
        absent = await north.get("/fhir/Observation?patient=p1&derived-from.code=9999-9", headers=headers)
    assert hidden.content.replace(POTASSIUM.encode(), b"9999-9") == absent.content
    last = (await node.entries())[-2:]
    assert [(entry["type"], entry["outcome"]) for entry in last] == [("access.search", "deny")] * 2


async def test_every_patient_who_is_included_has_her_event_with_its_line(node: Node) -> None:
    written = await node.put(patient("p1"), patient("p2"), observation("x1", of="p2"))
    await node.put(observation("o1", derivedFrom=[to("Observation/x1")]))
    owners = [change.owner for change in written.results if change]
    before = node.services.ledger.size
    async with node.client() as ward:
        answer = await ward.get("/fhir/Observation?patient=p1&_include=Observation:derived-from")
    entries = (await node.entries())[before:]
    details = [await node.detail(entry, owner) for entry, owner in zip(entries, owners[:2], strict=True)]
    lines = [line for detail in details for line in detail["content"]]
    assert [line.split(" ")[1] for line in lines] == ["Observation/o1/_history/1", "Observation/x1/_history/1"]
    assert len(answer.headers["x-ledger-index"].split(", ")) == 2


async def test_on_whose_data_a_match_rests_has_her_event(node: Node) -> None:
    await fill(node)
    before = node.services.ledger.size
    async with node.client() as ward:
        await bundle(ward, f"/fhir/Observation?patient=p1&derived-from.code={POTASSIUM}")
    assert await node.kinds(before) == ["access.search"] * 2, "p1, and p2 on whose result the match rests"


async def test_a_type_without_a_scope_is_not_included(node: Node) -> None:
    await fill(node)
    async with node.client("ward", "system/Observation.rs") as ward:
        found = await bundle(ward, "/fhir/Observation?patient=p1&_include=Observation:encounter")
        assert (sorted(ids(found)), beside(found)) == (["o1", "o2"], [])
        await bundle(ward, "/fhir/Observation?patient=p1&encounter.status=finished", 400)
        await bundle(ward, "/fhir/Observation?patient=p1&_has:DiagnosticReport:result:status=final", 400)


async def test_a_granular_scope_narrows_what_is_followed(node: Node) -> None:
    await fill(node)
    scope = "system/Observation.rs system/Encounter.s?part-of=e1"
    async with node.client("ward", scope) as ward:
        found = await bundle(ward, "/fhir/Observation?patient=p1&_include=Observation:encounter")
        assert beside(found) == ["Encounter/e2"]
        chained = await bundle(ward, "/fhir/Observation?patient=p1&encounter.status=finished")
        assert ids(chained) == ["o1"]


TOO_COSTLY = [
    "Practitioner?_id=d1&_revinclude=Observation:performer",
    "Practitioner?_id=d1&_has:Observation:performer:code=2160-0",
    "Observation?encounter.status=finished",
    "Observation?derived-from.patient.identifier=MR-p1",
]


@pytest.mark.parametrize("url", TOO_COSTLY)
async def test_a_way_around_through_everybody_is_too_costly(node: Node, url: str) -> None:
    await fill(node)
    async with node.client() as ward:
        assert (await bundle(ward, f"/fhir/{url}", 400))["issue"][0]["code"] == "too-costly"


REFUSED = [
    "Observation?patient=p1&encounter.part-of.part-of.status=finished",
    "Observation?patient=p1&code.text=x",
    "Observation?patient=p1&encounter.colour=red",
    "Observation?patient=p1&encounter:Patient.name=x",
    "Patient?_id=p1&_has:Observation:patient",
    "Patient?_id=p1&_has:Observation:code:code=1",
    "Patient?_id=p1&_has:Observation:encounter:code=1",
    "Patient?_id=p1&_has:Observation:patient:encounter.status=finished",
    "Patient?_id=p1&_has:Observation:patient:_has:Observation:derived-from:code=1",
    "Patient?_id=p1&_has:Nothing:patient:code=1",
    "Observation?patient=p1&_include=*",
    "Observation?patient=p1&_include=Observation:code",
    "Observation?patient=p1&_include:recurse=Observation:encounter",
    "Observation?patient=p1&_revinclude=Nothing:patient",
]


@pytest.mark.parametrize("url", REFUSED)
async def test_a_way_that_cannot_be_followed_is_refused(node: Node, url: str) -> None:
    await fill(node)
    async with node.client() as ward:
        assert (await bundle(ward, f"/fhir/{url}", 400))["issue"][0]["code"] == "not-supported"


async def test_iteration_ends_after_three_steps_and_in_circles(node: Node) -> None:
    stays = [stay(f"s{n}") | {"partOf": to(f"Encounter/s{n + 1}")} for n in range(6)]
    await node.put(patient(), *stays, stay("s6") | {"partOf": to("Encounter/s0")})
    async with node.client() as ward:
        found = await bundle(ward, "/fhir/Encounter?_id=s0&_include:iterate=Encounter:part-of")
        assert beside(found) == ["Encounter/s1", "Encounter/s2", "Encounter/s3"]
        both = "/fhir/Encounter?_id=s5,s6&_include:iterate=Encounter:part-of"
        assert beside(await bundle(ward, both)) == ["Encounter/s0", "Encounter/s1", "Encounter/s2"]


async def test_too_many_to_include_are_cut_and_it_is_said(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(includes, "MAX_INCLUDED", 3)
    await node.put(patient(), *(observation(f"o{n}") for n in range(5)))
    async with node.client() as ward:
        found = await bundle(ward, "/fhir/Patient?_id=p1&_revinclude=Observation:patient")
        whole = await bundle(ward, "/fhir/Observation?patient=p1&_include=Observation:patient")
    assert len(beside(found)) == 3
    (issue,) = found["entry"][-1]["resource"]["issue"]
    assert (found["entry"][-1]["search"]["mode"], issue["code"], issue["severity"]) == (
        "outcome",
        "incomplete",
        "warning",
    )
    assert beside(whole) == ["Patient/p1"]
    assert all(entry["search"]["mode"] != "outcome" for entry in whole["entry"])


async def test_what_is_cut_does_not_tell_of_the_hidden(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(includes, "MAX_INCLUDED", 1)
    await node.put(patient("p1"), patient("p2"), observation("x1", of="p2"), observation("x2", of="p2"))
    await node.put(observation("o1", derivedFrom=[to("Observation/x1"), to("Observation/x2")]))
    async with node.client() as ward, node.client("north") as north:
        await ward.post("/fhir/Consent", json=consent())
        found = await bundle(north, "/fhir/Observation?patient=p1&_include=Observation:derived-from")
    assert [entry["search"]["mode"] for entry in found["entry"]] == ["match"]


async def test_many_patients_can_be_followed_to_whose_keys_are_not_in_memory(node: Node) -> None:
    """Each key that is lacking is asked for together with the others, however many there are."""
    await node.put(*(patient(f"q{n}") for n in range(20)), *(observation(f"x{n}", of=f"q{n}") for n in range(20)))
    derived = [to(f"Observation/x{n}") for n in range(20)]
    await node.put(patient("p1"), observation("o1", derivedFrom=derived))
    keyring = node.services.keyring
    async with node.client() as ward:
        keyring._owners.clear()
        found = await bundle(ward, "/fhir/Observation?patient=p1&_include=Observation:derived-from")
        assert len(beside(found)) == 20
        keyring._owners.clear()
        chained = await bundle(ward, "/fhir/Observation?patient=p1&derived-from.code=2160-0")
        assert ids(chained) == ["o1"]


@pytest.mark.usefixtures("both")
async def test_a_later_page_follows_what_stood_at_page_one(node: Node) -> None:
    await node.put(patient(), stay("e1"), *(observation(f"o{n}", encounter=to("Encounter/e1")) for n in range(4)))
    asked = "/fhir/Observation?patient=p1&encounter.status=finished&_include=Observation:encounter&_count=2"
    async with node.client() as ward:
        first = await bundle(ward, asked)
        await node.put(stay("e1") | {"status": "planned"})
        second = await bundle(ward, next_of(node, first))
        now = await bundle(ward, asked)
    assert sorted(ids(first) + ids(second)) == ["o0", "o1", "o2", "o3"]
    assert beside(first) == beside(second) == ["Encounter/e1"]
    shown = next(entry["resource"] for entry in second["entry"] if entry["search"]["mode"] == "include")
    assert shown["status"] == "finished"
    assert ids(now) == []


async def test_merged_patients_are_followed_as_one(node: Node) -> None:
    from tests.adapter.api.test_consent import merge

    written = await node.put(patient("p1"), observation("o1"), patient("p2"), observation("o2", of="p2", code=SODIUM))
    first, _, second, _ = (change.owner for change in written.results if change)
    await merge(node, second, first)
    async with node.client() as ward:
        found = await bundle(ward, f"/fhir/Patient?_id=p1&_has:Observation:patient:code={SODIUM}")
        assert ids(found) == ["p1"]
        rev = await bundle(ward, "/fhir/Patient?_id=p1&_revinclude=Observation:subject")
        assert beside(rev) == ["Observation/o1", "Observation/o2"]


async def test_elements_of_one_type_leave_the_included_whole(node: Node) -> None:
    await fill(node)
    async with node.client() as ward:
        found = await bundle(
            ward, "/fhir/Observation?_id=o1&_include=Observation:encounter&_elements=status,Observation.code"
        )
        short = await bundle(ward, "/fhir/Observation?_id=o1&_include=Observation:encounter&_summary=true")
    match, include = (entry["resource"] for entry in found["entry"])
    assert "effectiveDateTime" not in match
    assert "tag" not in include["meta"]
    assert all(entry["resource"]["meta"]["tag"] for entry in short["entry"])

"""search within a patient, and Patient by identifier, through the gate.

FHIR R4 search.html; fhir chapter §4, §6, §10.
"""

import re
from datetime import UTC, datetime
from urllib.parse import quote

import httpx
import pytest

from adapter.access.refusals import SMALLEST_PAD, WINDOW_S
from adapter.api.explain import rounded
from adapter.errors import Unavailable
from adapter.store.unit import Delete
from ledger.errors import AppendFailed
from mappings.fhir.codec import decode
from mappings.fhir.validate import validate
from tests.adapter.api.conftest import Json, Node, consent, observation, patient

pytestmark = pytest.mark.usefixtures("both")

SODIUM = "2951-2"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def stay(logical_id: str, of: str = "p1") -> Json:
    return {
        "resourceType": "Encounter",
        "id": logical_id,
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
        "subject": {"reference": f"Patient/{of}"},
    }


async def fill(node: Node) -> None:
    """Two patients with the same codes, so that what leaks from one to the other shows."""
    await node.put(
        patient("p1"),
        stay("e1"),
        observation("o1", when="2025-03-04"),
        observation("o2", when="2026-03-04T10:00:00+01:00", encounter={"reference": "Encounter/e1"}),
        observation("o3", code=SODIUM, when="2026-04-01"),
        patient("p2", family="Anders"),
        observation("x1", of="p2"),
        observation("x2", of="p2", code=SODIUM),
    )


async def bundle(client: httpx.AsyncClient, url: str, status: int = 200) -> Json:
    answer = await client.get(url)
    assert answer.status_code == status, answer.text
    found = decode(answer.content)
    assert [fault for fault in validate(found) if fault.severity == "error"] == []
    return found


def ids(found: Json) -> list[str]:
    return [entry["resource"]["id"] for entry in found.get("entry", []) if entry["search"]["mode"] == "match"]


def next_of(node: Node, found: Json) -> str:
    url = next((link["url"] for link in found["link"] if link["relation"] == "next"), "")
    return str(url.removeprefix(node.services.base.removesuffix("/fhir")))


FOUND = {
    "Observation?patient=p1": ["o1", "o2", "o3"],
    "Observation?patient=Patient/p1": ["o1", "o2", "o3"],
    "Observation?subject=Patient/p1&code=http://loinc.org|2160-0": ["o1", "o2"],
    "Observation?patient=p1&code=2160-0": ["o1", "o2"],
    "Observation?patient=p1&code=2160-0,2951-2": ["o1", "o2", "o3"],
    f"Observation?patient=p1&code={SODIUM}&date=2026-04": ["o3"],
    "Observation?patient=p1&date=ge2026": ["o2", "o3"],
    "Observation?patient=p1&date=2026-03-04": ["o2"],
    "Observation?patient=p1&date=lt2026&date=ge2025": ["o1"],
    "Observation?patient=p1&encounter=Encounter/e1": ["o2"],
    "Observation?patient=p1&encounter=e1": ["o2"],
    "Observation?patient=p1&_id=o2,x1": ["o2"],
    "Observation?_id=o3": ["o3"],
    "Observation?patient=p1&_lastUpdated=gt2999": [],
    "Observation?patient=p1&_lastUpdated=gt2020": ["o1", "o2", "o3"],
    "Observation?patient=p1&status=amended": [],
    "Observation?patient=p1&code:not=2160-0": ["o3"],
    "Observation?patient=p1&encounter:missing=true": ["o1", "o3"],
    "Observation?patient=p1&_sort=-date": ["o3", "o2", "o1"],
    "Observation?patient.identifier=urn:oid:2.999.1.1|MR-p1": ["o1", "o2", "o3"],
    "Patient/p1/Observation": ["o1", "o2", "o3"],
    f"Patient/p1/Observation?code={SODIUM}": ["o3"],
    "Patient?identifier=urn:oid:2.999.1.1|MR-p1": ["p1"],
    "Patient?identifier=MR-p1": ["p1"],
    "Patient?identifier=MR-nobody": [],
    "Patient?_id=p1&family=must": ["p1"],
    "Patient?_id=p1&family:exact=must": [],
    "Patient?family=Muster&birthdate=1970-05-17": ["p1"],
    "Observation?patient=nobody": [],
}


@pytest.mark.parametrize("url", FOUND, ids=str)
async def test_a_search_finds_what_matches_in_one_patient_and_nothing_else(node: Node, url: str) -> None:
    await fill(node)
    async with node.client() as ward:
        found = await bundle(ward, f"/fhir/{url}")
    assert (ids(found) if "_sort" in url else sorted(ids(found))) == FOUND[url]
    assert found["total"] == len(FOUND[url])


async def test_a_form_finds_what_the_address_finds(node: Node) -> None:
    await fill(node)
    async with node.client() as ward:
        form = await ward.post("/fhir/Observation/_search", content="patient=p1&code=2160-0", headers=FORM)
        inside = await ward.post("/fhir/Patient/p1/Observation/_search", content="code=2160-0", headers=FORM)
        assert sorted(ids(decode(form.content))) == sorted(ids(decode(inside.content))) == ["o1", "o2"]
        assert (await ward.post("/fhir/Observation/_search", content="{}")).status_code == 415
        long = await ward.post("/fhir/Observation/_search", content="a=" + "b" * 70_000, headers=FORM)
        assert long.status_code == 413


BAD = {
    "Observation": "too-costly",
    "Observation?code=2160-0": "too-costly",
    "Patient?family=Muster": "too-costly",
    "Observation?patient=p1&shoe-size=43": "not-supported",
    "Observation?patient=p1&code:below=2160-0": "not-supported",
    "Observation?patient=p1&_explain=maybe": "invalid",
    "Observation?patient=p1&_summary=some": "invalid",
    "Observation?patient=p1&_elements=colour": "invalid",
    "Observation?patient=p1&_elements=code&_summary=data": "invalid",
    "Observation?patient=p1&code:below=http://loinc.org|2160-0": "not-supported",
    "Observation?patient=p1&encounter.part-of.part-of.status=x": "not-supported",
    "Observation?subject.name=Muster": "too-costly",
    "Observation?patient=p1&_text=x": "not-supported",
    "Observation?patient=p1&date=yesterday": "invalid",
    "Observation?patient=p1&_count=x": "value",
    "Observation?patient=p1&_count=1&_count=2": "invalid",
}


@pytest.mark.parametrize("url", BAD, ids=str)
async def test_what_is_not_supported_is_refused_and_never_left_out(node: Node, url: str) -> None:
    await fill(node)
    before = node.services.ledger.size
    async with node.client() as ward:
        outcome = await bundle(ward, f"/fhir/{url}", 400)
    assert outcome["issue"][0]["code"] == BAD[url]
    assert "Muster" not in str(outcome)
    assert "yesterday" not in str(outcome)
    assert node.services.ledger.size == before


async def test_lenient_handling_leaves_out_and_says_so(node: Node) -> None:
    await fill(node)
    async with node.client() as ward:
        answer = await ward.get("/fhir/Observation?patient=p1&shoe-size=43", headers={"Prefer": "handling=lenient"})
    found = decode(answer.content)
    assert sorted(ids(found)) == ["o1", "o2", "o3"]
    assert "shoe-size" in found["entry"][-1]["resource"]["issue"][0]["diagnostics"]
    assert "shoe-size" not in found["link"][0]["url"]


@pytest.mark.parametrize("sort", ["", "&_sort=-date", "&_sort=date"])
async def test_pages_hold_everything_once(node: Node, sort: str) -> None:
    await node.put(patient(), *(observation(f"o{n}", when=f"2026-01-{n:02d}") for n in range(1, 12)))
    seen: list[str] = []
    totals = []
    async with node.client() as ward:
        url = f"/fhir/Observation?patient=p1&_count=4{sort}"
        while url:
            found = await bundle(ward, url)
            seen += ids(found)
            totals.append(found.get("total"))
            url = next_of(node, found)
    expected = [f"o{n}" for n in range(1, 12)]
    if not sort:
        seen.sort(key=lambda name: int(name[1:]))  # by number of row, which promises no order inside one transaction
    assert seen == (expected[::-1] if sort == "&_sort=-date" else expected)
    assert totals == [11, None, None]


async def test_a_later_page_shows_what_page_one_was_cut_from(node: Node) -> None:
    """Changed, deleted and new resources between two pages: each at the version of page one's moment."""
    await node.put(patient(), *(observation(f"o{n}") for n in range(1, 7)))
    async with node.client() as ward:
        first = await bundle(ward, "/fhir/Observation?patient=p1&code=2160-0&_count=2")
        await node.put(observation("o4", code=SODIUM), observation("o9"))
        await node.commit(Delete("Observation", "o5"))
        second = await bundle(ward, next_of(node, first))
        third = await bundle(ward, next_of(node, second))
    pages = [*first["entry"], *second["entry"], *third["entry"]]
    assert sorted(entry["resource"]["id"] for entry in pages) == [f"o{n}" for n in range(1, 7)]
    (moved,) = [entry["resource"] for entry in pages if entry["resource"]["id"] == "o4"]
    assert moved["code"]["coding"][0]["code"] == "2160-0"


@pytest.mark.parametrize("sort", ["date", "-date", "-date,_id"])
async def test_a_sorted_page_goes_on_behind_the_last_one_whatever_changed_since(node: Node, sort: str) -> None:
    """What is shown moves back, what is not yet shown moves forward, new ones come in between: nothing comes twice, and
    nothing is left out."""
    await node.put(patient(), *(observation(f"o{n}", when=f"2026-01-{n:02d}") for n in range(1, 9)))
    expected = [f"o{n}" for n in range(1, 9)]
    async with node.client() as ward:
        first = await bundle(ward, f"/fhir/Observation?patient=p1&_count=3&_sort={sort}")
        await node.put(
            *(observation(f"o{n}", when=f"2026-02-{n:02d}") for n in (1, 3, 8)),
            *(observation(f"o{n}", when=f"2025-01-{n:02d}") for n in (4, 5, 6)),
            *(observation(f"n{n}", when=f"2026-01-{n:02d}") for n in range(1, 9)),
        )
        await node.commit(Delete("Observation", ids(first)[-1]))
        second = await bundle(ward, next_of(node, first))
        third = await bundle(ward, next_of(node, second))
    assert ids(first) + ids(second) + ids(third) == (expected if sort == "date" else expected[::-1])


async def test_what_went_to_another_patient_is_still_on_a_later_page(node: Node) -> None:
    """Found by her at page one, and by nobody of hers now."""
    await node.put(patient("p1"), patient("p2"), *(observation(f"o{n}", when=f"2026-01-{n:02d}") for n in range(1, 5)))
    async with node.client() as ward:
        first = await bundle(ward, "/fhir/Observation?patient=p1&_count=2&_sort=date")
        await node.put(observation("o3", of="p2", when="2026-01-03"), observation("o5", when="2026-01-03"))
        second = await bundle(ward, next_of(node, first))
    assert ids(first) + ids(second) == ["o1", "o2", "o3", "o4"]
    assert second["entry"][0]["resource"]["subject"]["reference"] == "Patient/p1"


@pytest.mark.parametrize(
    "asked",
    [
        "Patient?identifier=MR-p1,MR-p2,MR-p3",
        "Patient?family=Muster&birthdate=1970-05-17",
        "Observation?patient.identifier=MR-p1,MR-p2,MR-p3",
    ],
)
async def test_who_has_another_name_or_number_since_is_still_on_a_later_page(node: Node, asked: str) -> None:
    for n in (1, 2, 3):
        await node.put(patient(f"p{n}"), observation(f"o{n}", of=f"p{n}"))
    async with node.client() as ward:
        pages = [await bundle(ward, f"/fhir/{asked}&_count=1&_sort=_id")]
        await node.put(*(patient(f"p{n}", number=f"other{n}", family="Anders") for n in (1, 2, 3)), patient("p4"))
        while url := next_of(node, pages[-1]):
            pages.append(await bundle(ward, url))
    kind = "o" if asked.startswith("O") else "p"
    assert [ids(page) for page in pages] == [[f"{kind}{n}"] for n in (1, 2, 3)]


@pytest.mark.parametrize("sort", ["", "&_sort=date"])
async def test_a_page_goes_on_behind_what_may_no_longer_be_shown(node: Node, sort: str) -> None:
    """Where the last page ended with her who has revoked since, the others' resources are all still to come."""
    await node.put(patient("p1"), patient("p2"))
    for n in range(1, 9):
        await node.put(observation(f"o{n}", of="p1" if n % 2 else "p2", when=f"2026-01-{n:02d}"))
    async with node.client() as ward, node.client("north") as north:
        made = [decode((await ward.post("/fhir/Consent", json=consent(of=of))).content) for of in ("p1", "p2")]
        first = await bundle(north, f"/fhir/Observation?patient=p1,p2&_count=3{sort}")
        assert (await ward.put(f"/fhir/Consent/{made[0]['id']}", json=made[0] | {"status": "inactive"})).is_success
        second = await bundle(north, next_of(node, first))
    assert ids(first) == ["o1", "o2", "o3"]
    assert ids(second) == ["o4", "o6", "o8"]


async def test_a_page_after_a_revocation_holds_nothing(node: Node) -> None:
    await node.put(patient(), *(observation(f"o{n}") for n in range(1, 5)))
    async with node.client() as ward, node.client("north") as north:
        made = decode((await ward.post("/fhir/Consent", json=consent())).content)
        first = await bundle(north, "/fhir/Observation?patient=p1&_count=2")
        assert len(ids(first)) == 2
        await ward.put(f"/fhir/Consent/{made['id']}", json=made | {"status": "inactive"})
        second = await bundle(north, next_of(node, first))
    assert ids(second) == []
    assert next_of(node, second) == ""


async def test_a_cursor_is_one_clients_page_of_one_address(node: Node) -> None:
    await node.put(patient(), *(observation(f"o{n}") for n in range(1, 5)))
    async with node.client() as ward, node.client("north") as north:
        url = next_of(node, await bundle(ward, "/fhir/Observation?patient=p1&_count=2"))
        assert "p1" not in re.split(r"[^\w-]", url), "sealed text may hold any two letters"
        assert (await north.get(url)).status_code == 404
        assert (await ward.get(url.replace("Observation", "Condition"))).status_code == 404
        assert (await ward.get(url[:-1] + ("A" if url[-1] != "A" else "B"))).status_code == 404
        assert (await ward.get(f"{url}&code=2160-0")).status_code == 400
        old = node.services.cursors
        text = url.partition("_cursor=")[2]
        cursor = old.open(text, "ward", "/fhir/Observation", 0)
        from dataclasses import replace

        expired = old.seal(replace(cursor, expires=int(datetime.now(UTC).timestamp()) - 1), "ward")
        gone = await ward.get(f"/fhir/Observation?_cursor={expired}")
    assert (gone.status_code, decode(gone.content)["issue"][0]["code"]) == (410, "expired")


async def test_count_zero_counts_and_is_recorded(node: Node) -> None:
    await fill(node)
    async with node.client() as ward:
        answer = await ward.get("/fhir/Observation?patient=p1&_count=0&_total=none")
    found = decode(answer.content)
    assert (found["total"], ids(found), next_of(node, found)) == (3, [], "")
    entry = (await node.entries())[-1]
    assert (entry["type"], entry["outcome"]) == ("access.search", "permit")


async def test_the_total_is_left_out_where_it_is_not_asked_for(node: Node) -> None:
    await fill(node)
    async with node.client() as ward:
        assert "total" not in await bundle(ward, "/fhir/Observation?patient=p1&_total=none")


async def test_the_self_link_says_what_was_searched(node: Node) -> None:
    await fill(node)
    async with node.client() as ward:
        found = await bundle(ward, f"/fhir/Observation?patient=p1&code={quote('http://loinc.org|2160-0')}&_format=json")
    link, first = found["link"]
    assert first == {"relation": "first", "url": link["url"]}
    expected = f"{node.services.base}/Observation?patient=p1&code=http%3A%2F%2Floinc.org%7C2160-0"
    assert (link["relation"], link["url"]) == ("self", expected)
    urls = {entry["fullUrl"] for entry in found["entry"]}
    assert urls == {f"{node.services.base}/Observation/{name}" for name in ("o1", "o2")}


@pytest.mark.parametrize("asked", ["_summary=true", "_elements=status", "_summary=text"])
async def test_less_of_a_resource_is_marked_as_less(node: Node, asked: str) -> None:
    await node.put(patient(), observation("o1", note=[{"text": "a word"}]))
    async with node.client() as ward:
        found = await bundle(ward, f"/fhir/Observation?patient=p1&{asked}")
        (entry,) = found["entry"]
        read = decode((await ward.get(f"/fhir/Observation/o1?{asked}")).content)
        vread = decode((await ward.get(f"/fhir/Observation/o1/_history/1?{asked}")).content)
        whole = decode((await ward.get("/fhir/Observation/o1?_summary=false")).content)
        assert (await ward.get("/fhir/Observation/o1?_summary=count")).status_code == 400
        assert (await ward.get("/fhir/Observation/o1?_elements=colour")).status_code == 400
    assert entry["resource"] == read == vread
    assert entry["resource"]["meta"]["tag"][-1]["code"] == "SUBSETTED"
    assert "note" not in entry["resource"]
    assert "note" in whole


async def test_a_summary_that_counts_shows_nothing_else(node: Node) -> None:
    await fill(node)
    async with node.client() as ward:
        found = await bundle(ward, "/fhir/Observation?patient=p1&_summary=count")
    assert (found["total"], ids(found), next_of(node, found)) == (3, [], "")


async def test_amounts_are_found_in_another_unit(node: Node) -> None:
    ucum = "http://unitsofmeasure.org"
    amount = {"value": 5, "unit": "mg/dL", "system": ucum, "code": "mg/dL"}
    await node.put(patient(), observation("o1", valueQuantity=amount))
    async with node.client() as ward:
        assert ids(await bundle(ward, f"/fhir/Observation?patient=p1&value-quantity=0.05|{ucum}|g/L")) == ["o1"]
        assert ids(await bundle(ward, f"/fhir/Observation?patient=p1&value-quantity=gt0.05|{ucum}|g/L")) == []


EVERYWHERE = {
    "?_type=Observation,Encounter&patient=p1": ["e1", "o1", "o2", "o3"],
    "?_type=Encounter,Observation&patient=p1&status=finished": ["e1"],
    "?_id=o1": ["o1"],
    "/?_id=p1,e1,x1": ["e1", "p1", "x1"],
    "?_type=Observation&patient=p1&code=2160-0": ["o1", "o2"],
    "?_type=Observation,Encounter&_id=e1,o1&_lastUpdated=gt2999": [],
}


@pytest.mark.parametrize("url", EVERYWHERE, ids=str)
async def test_several_types_are_searched_at_once(node: Node, url: str) -> None:
    await fill(node)
    async with node.client() as ward:
        found = await bundle(ward, f"/fhir{url}")
        form = await ward.post("/fhir/_search", content=url.partition("?")[2], headers=FORM)
    assert sorted(ids(found)) == sorted(ids(decode(form.content))) == EVERYWHERE[url]
    assert found["total"] == len(EVERYWHERE[url])


async def test_a_compartment_holds_what_speaks_of_the_patient(node: Node) -> None:
    """Her own results, and those that she made of others; not what merely lies under her key."""
    hers: Json = {"performer": [{"reference": "Patient/p1"}]}
    trail = {"resourceType": "Provenance", "id": "v1", "recorded": "2026-03-04T10:00:00Z"}
    agent = {"agent": [{"who": {"display": "x"}}]}
    await fill(node)
    kern: Json = {"performer": [{"reference": "Practitioner/d1"}]}
    await node.put({"resourceType": "Practitioner", "id": "d1"})
    await node.put(observation("o4", **kern), observation("x4", of="p2", **kern))
    await node.put(observation("x3", of="p2", **hers), trail | agent | {"target": [{"reference": "Observation/o1"}]})
    async with node.client() as ward, node.client("north") as north:
        assert sorted(ids(await bundle(ward, "/fhir/Patient/p1/Observation"))) == ["o1", "o2", "o3", "o4", "x3"]
        assert ids(await bundle(ward, "/fhir/Patient/p1/Observation?subject=Patient/p2")) == ["x3"]
        assert ids(await bundle(ward, "/fhir/Patient/p1/Provenance")) == []
        assert ids(await bundle(ward, "/fhir/Patient/p1/Observation?performer=d1")) == ["o4"], "and not x4, of p2"
        assert ids(await bundle(ward, "/fhir/Provenance?_id=v1")) == ["v1"]
        assert ids(await bundle(ward, "/fhir/Patient/p1/Patient")) == ["p1"]
        await ward.post("/fhir/Consent", json=consent())
        assert sorted(ids(await bundle(north, "/fhir/Patient/p1/Observation"))) == ["o1", "o2", "o3", "o4"]


async def test_several_types_share_their_pages(node: Node) -> None:
    await fill(node)
    seen: list[str] = []
    async with node.client() as ward:
        for sort in ("", "&_sort=-_id"):
            found = await bundle(ward, f"/fhir?_type=Observation,Encounter&patient=p1&_count=3{sort}")
            second = await bundle(ward, next_of(node, found))
            seen = ids(found) + ids(second)
            assert sorted(seen) == ["e1", "o1", "o2", "o3"]
    assert seen == ["o3", "o2", "o1", "e1"]


async def test_several_types_need_a_scope_of_each_and_parameters_of_all(node: Node) -> None:
    await fill(node)
    async with node.client("ward", "system/Observation.rs") as ward:
        await bundle(ward, "/fhir?_type=Observation,Encounter&patient=p1", 403)
        assert ids(await bundle(ward, "/fhir?_id=o1,e1,p1")) == ["o1"], "all types are those that a scope searches"
    async with node.client("ward", "user/Nothing.rs") as nobody:
        await bundle(nobody, "/fhir?_id=o1", 403)
    async with node.client() as ward:
        mixed = "/fhir?_type=Immunization,Medication&_id=1&_sort=lot-number"
        assert (await bundle(ward, mixed, 400))["issue"][0]["code"] == "not-supported"
        for url in ("?_type=Observation,Encounter&patient=p1&code=1", "?_type=Nothing&_id=1", "?_type=&_id=1"):
            assert (await bundle(ward, f"/fhir{url}", 400))["issue"][0]["code"] == "not-supported"
        for url in ("", "?_type=Observation,Encounter", "?_lastUpdated=gt2020"):
            assert (await bundle(ward, f"/fhir{url}", 400))["issue"][0]["code"] == "too-costly"


async def test_an_administrator_is_told_how_and_no_exact_number(node: Node) -> None:
    await fill(node)
    url = "/fhir/Observation?patient=p1&code=2160-0&date=ge2025&_explain=true"
    async with node.client("admin") as admin, node.client() as ward:
        found = await bundle(admin, url)
        refused = await ward.get(url)
        await bundle(ward, url.replace("true", "false"))
    assert sorted(ids(found)) == ["o1", "o2"]
    told = [issue["diagnostics"] for issue in found["entry"][-1]["resource"]["issue"]]
    assert told == ["Observation: anchor patient, index code", "opened under 10, matched under 10, shown under 10"]
    assert refused.status_code == 403


@pytest.mark.parametrize(("count", "text"), [(0, "under 10"), (9, "under 10"), (10, "under 100"), (999, "under 1000")])
def test_counts_are_told_to_the_next_power_of_ten(count: int, text: str) -> None:
    assert rounded(count) == text


async def test_one_event_holds_the_lines_of_a_page(node: Node) -> None:
    written = await node.put(patient(), observation("o1"), observation("o2"))
    owner = written.changes[0].owner
    before = node.services.ledger.size
    async with node.client() as ward:
        await bundle(ward, "/fhir/Observation?patient=p1")
    (entry,) = (await node.entries())[before:]
    detail = await node.detail(entry, owner)
    assert [line.split(" ")[1] for line in detail["content"]] == [
        "Observation/o1/_history/1",
        "Observation/o2/_history/1",
    ]
    assert detail["query"] == "/fhir/Observation?patient=p1"


async def test_a_search_across_two_patients_is_one_event_each(node: Node) -> None:
    await fill(node)
    before = node.services.ledger.size
    async with node.client() as ward:
        found = await bundle(ward, "/fhir/Observation?_id=o1,x1")
    assert sorted(ids(found)) == ["o1", "x1"]
    assert await node.kinds(before) == ["access.search"] * 2


async def test_a_hidden_search_answers_like_an_empty_one(node: Node) -> None:
    await fill(node)
    headers = {"X-Request-Id": "same"}
    async with node.client("north") as north:
        hidden = await north.get("/fhir/Observation?patient=p1", headers=headers)
        absent = await north.get("/fhir/Observation?patient=p9", headers=headers)
    assert hidden.status_code == absent.status_code == 200
    assert hidden.content.replace(b"p1", b"p9") == absent.content
    unlike = {"x-ledger-index", "content-digest"}
    assert {k: v for k, v in hidden.headers.items() if k not in unlike} == {
        k: v for k, v in absent.headers.items() if k not in unlike
    }
    entries = (await node.entries())[-2:]
    assert [(entry["type"], entry["outcome"]) for entry in entries] == [("access.search", "deny")] * 2


async def test_whom_a_search_withheld_is_told_by_the_timer_among_nobodies(node: Node) -> None:
    await fill(node)
    before = node.services.ledger.size
    async with node.client("north") as north:
        await bundle(north, "/fhir/Observation?_id=o1,x1")
    assert await node.kinds(before) == ["access.search"]
    await node.services.gate.flush_refusals(datetime.now(UTC))
    told = (await node.entries())[before + 1 :]
    assert [entry["type"] for entry in told] == ["access.denied"] * SMALLEST_PAD
    assert len({frozenset(entry) for entry in told}) == 1
    await node.services.gate.flush_refusals(datetime.now(UTC))
    assert len((await node.entries())[before + 1 :]) == SMALLEST_PAD


async def test_what_the_log_could_not_take_is_told_when_it_can(node: Node) -> None:
    await fill(node)
    async with node.client("north") as north:
        await bundle(north, "/fhir/Observation?_id=o1")
    gate, before = node.services.gate, node.services.ledger.size
    working = gate._ledger
    gate._ledger = Full()  # type: ignore[assignment]
    with pytest.raises(Unavailable):
        await gate.flush_refusals(datetime.now(UTC))
    gate._ledger = working
    await gate.flush_refusals(datetime.now(UTC))
    assert await node.kinds(before) == ["access.denied"] * SMALLEST_PAD


class Full:
    async def append(self, events: object) -> None:
        raise AppendFailed("disk full")


async def test_an_empty_search_is_padded_like_a_withheld_one(node: Node) -> None:
    async with node.client("north") as north:
        await bundle(north, "/fhir/Observation?patient=nobody")
    before = node.services.ledger.size
    await node.services.gate.flush_refusals(datetime.now(UTC))
    assert await node.kinds(before) == ["access.denied"] * SMALLEST_PAD


@pytest.mark.parametrize("other", ["p2", "nobody"])
async def test_a_search_that_shows_one_patient_does_not_tell_of_another(node: Node, other: str) -> None:
    """The log's size is public: whether a second patient was withheld must not show in what the minute adds to it."""
    await node.put(patient("p1"), patient("p2"))
    async with node.client() as ward, node.client("north") as north:
        await ward.post("/fhir/Consent", json=consent(of="p1"))
        assert (await bundle(north, f"/fhir/Patient?_id=p1,{other}"))["total"] == 1
    before = node.services.ledger.size
    await node.services.gate.flush_refusals(datetime.now(UTC))
    assert await node.kinds(before) == ["access.denied"] * SMALLEST_PAD


async def test_repeated_refusals_are_told_with_their_count(node: Node) -> None:
    await fill(node)
    async with node.client("north") as north:
        for _ in range(4):
            await north.get("/fhir/Observation/o1")
    before = node.services.ledger.size
    book = node.services.gate.refusals
    for folded in book._folds.values():
        folded.since -= WINDOW_S
    await node.services.gate.flush_refusals(datetime.now(UTC))
    (entry,) = (await node.entries())[before:]
    assert (entry["type"], entry["d"]) == ("access.denied", {"count": 3, "window_s": WINDOW_S})


async def test_a_granular_scope_narrows_a_search(node: Node) -> None:
    await fill(node)
    async with node.client("ward", f"system/Observation.s?code={SODIUM}") as ward:
        found = await bundle(ward, "/fhir/Observation?patient=p1")
    assert (ids(found), found["total"]) == (["o3"], 1)


async def test_a_chain_into_patients_needs_a_scope_that_searches_them(node: Node) -> None:
    await fill(node)
    async with node.client("ward", "system/Observation.rs") as ward:
        await bundle(ward, "/fhir/Observation?patient.identifier=MR-p1", 400)


async def test_a_merged_patient_is_found_under_both_names(node: Node) -> None:
    from tests.adapter.api.test_consent import merge

    written = await node.put(patient("p1"), observation("o1"), patient("p2"), observation("o2", of="p2"))
    first, _, second, _ = (change.owner for change in written.results if change)
    await merge(node, second, first)
    async with node.client() as ward:
        for name in ("p1", "p2"):
            for url in (f"/fhir/Observation?patient={name}", f"/fhir/Patient/{name}/Observation"):
                assert sorted(ids(await bundle(ward, url))) == ["o1", "o2"]


async def test_the_lifespan_tells_refusals_when_the_node_stops(node: Node) -> None:
    async with node.app.router.lifespan_context(node.app):
        async with node.client("north") as north:
            await bundle(north, "/fhir/Observation?patient=nobody")
    assert (await node.kinds())[-SMALLEST_PAD:] == ["access.denied"] * SMALLEST_PAD

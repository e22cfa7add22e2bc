"""batch and transaction: order, names, conditions, all or nothing, faults at their places. fhir chapter §9."""

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest

from tests.adapter.api.conftest import Json, Node, consent, decode_json, observation, patient
from tests.adapter.api.test_conditional import SYSTEM, count
from tests.adapter.api.test_create import code_of

pytestmark = pytest.mark.usefixtures("both")

A, B = "urn:uuid:aaaaaaaa-0000-4000-8000-000000000001", "urn:uuid:aaaaaaaa-0000-4000-8000-000000000002"


def bundle(*entries: Json, kind: str = "transaction") -> Json:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


def entry(method: str, url: str, resource: Json | None = None, full_url: str | None = None, **more: Any) -> Json:
    made: Json = {"request": {"method": method, "url": url} | more}
    if full_url is not None:
        made["fullUrl"] = full_url
    return made | ({"resource": resource} if resource is not None else {})


def bare(resource: Json) -> Json:
    return {name: value for name, value in resource.items() if name != "id"}


async def post(client: httpx.AsyncClient, body: Json, **headers: str) -> httpx.Response:
    return await client.post("/fhir", json=body, headers=headers)


def statuses(answer: httpx.Response) -> list[str]:
    return [one["response"]["status"] for one in decode_json(answer.content)["entry"]]


def places(answer: httpx.Response) -> list[str]:
    return [place for issue in decode_json(answer.content)["issue"] for place in issue.get("expression", ())]


async def test_names_of_the_bundle_become_names_of_the_server(node: Node) -> None:
    """References, uri elements and the links of narratives; whichever comes first."""
    about = bare(observation("x", of="?")) | {
        "subject": {"reference": A},
        "derivedFrom": [{"reference": B}],
        "implicitRules": B,
        "text": {
            "status": "generated",
            "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{A}">who</a></div>',
        },
    }
    other = bare(observation("y")) | {"subject": {"reference": A}}
    del about["implicitRules"]
    about["extension"] = [{"url": "urn:example:about", "valueUri": B}, {"url": "urn:example:a", "valueCanonical": B}]
    sent = bundle(
        entry("POST", "Observation", about, "urn:uuid:aaaaaaaa-0000-4000-8000-000000000003"),
        entry("POST", "Observation", other, B),
        entry("POST", "Patient", bare(patient("x")), A),
    )
    async with node.client() as ward:
        answer = await post(ward, sent)
        assert (answer.status_code, statuses(answer)) == (200, ["201"] * 3)
        made = [one["response"]["location"].split("/")[-4:-2] for one in decode_json(answer.content)["entry"]]
        first, second, person = ("/".join(one) for one in made)
        stored = (await ward.get(f"/fhir/{first}")).json()
    assert stored["subject"] == {"reference": person}
    assert stored["derivedFrom"] == [{"reference": second}]
    assert f'href="{person}"' in stored["text"]["div"]
    assert [one.get("valueUri", one.get("valueCanonical")) for one in stored["extension"]] == [second, B]


async def test_25_resources_are_one_commit_and_one_event_for_their_patient(node: Node) -> None:
    await node.put(patient())
    entries = [entry("POST", "Observation", bare(observation("x", when=f"2026-01-{day:02}"))) for day in range(1, 26)]

    async def txns() -> int:
        found = await node.services.store.read(lambda conn: conn.exec_driver_sql("SELECT count(*) FROM txn").scalar())
        assert isinstance(found, int)
        return found

    before, log = await txns(), node.services.ledger.size
    async with node.client() as ward:
        answer = await post(ward, bundle(*entries))
    assert statuses(answer) == ["201"] * 25
    assert await txns() == before + 1
    await node.services.delivery.deliver()
    assert await node.kinds(log) == ["resource.written"]


async def test_the_order_is_delete_post_put_get_and_the_answer_stands_as_it_was_asked(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    sent = bundle(
        entry("GET", "Observation/o2"),
        entry("PUT", "Observation/o2", observation("o2")),
        entry("POST", "Observation", bare(observation("x"))),
        entry("DELETE", "Observation/o1"),
        entry("GET", "Observation?patient=p1"),
        entry("GET", "Observation/o1"),
    )
    async with node.client() as ward:
        answer = await post(ward, sent)
    assert statuses(answer) == ["200", "201", "201", "204", "200", "410"]
    found = decode_json(answer.content)["entry"]
    assert found[0]["resource"]["id"] == "o2"
    assert found[4]["resource"]["total"] == 2
    assert "resource" not in found[1]
    assert found[5]["response"]["outcome"]["resourceType"] == "OperationOutcome"


async def test_bodies_are_shown_to_whoever_asks_and_may_read(node: Node) -> None:
    await node.put(patient())
    sent = bundle(entry("POST", "Observation", bare(observation("x"))))
    async with node.client() as ward, node.client("ward", "system/*.cu") as writer:
        shown = await post(ward, sent, Prefer="return=representation")
        told = await post(ward, sent, Prefer="return=OperationOutcome")
        blind = await post(writer, sent, Prefer="return=representation")
    assert decode_json(shown.content)["entry"][0]["resource"]["resourceType"] == "Observation"
    assert "x-ledger-index" in shown.headers
    assert decode_json(told.content)["entry"][0]["response"]["outcome"]["resourceType"] == "OperationOutcome"
    assert "resource" not in decode_json(blind.content)["entry"][0]


async def test_a_conditional_create_that_matches_gives_its_name_to_the_others(node: Node) -> None:
    await node.put(patient())
    who = f"identifier={SYSTEM}|MR-p1"
    sent = bundle(
        entry("POST", "Patient", bare(patient("x")), A, ifNoneExist=who),
        entry("POST", "Observation", bare(observation("x")) | {"subject": {"reference": A}}),
        entry("POST", "Observation", bare(observation("y")) | {"subject": {"reference": f"Patient?{who}"}}),
    )
    async with node.client() as ward:
        answer = await post(ward, sent)
        assert statuses(answer) == ["200", "201", "201"]
        found = (await ward.get("/fhir/Observation?patient=p1")).json()
    assert found["total"] == 2
    assert {one["resource"]["subject"]["reference"] for one in found["entry"]} == {"Patient/p1"}
    assert await count(node, "Patient") == 1


@pytest.mark.parametrize(
    ("reference", "status", "code"),
    [
        ("Patient?identifier=nobody", 412, "unmatched"),
        ("Patient?gender=female", 412, "criteria"),
        ("Observation?patient=p1", 412, "unmatched"),
        ("Nobody?identifier=x", 400, "bad-request"),
        ("urn:uuid:aaaaaaaa-0000-4000-8000-00000000dead", 400, "loose-reference"),
    ],
)
async def test_a_reference_that_means_nothing_refuses_the_whole(
    node: Node, reference: str, status: int, code: str
) -> None:
    sent = bundle(
        entry("POST", "Patient", bare(patient("x"))),
        entry("POST", "Observation", bare(observation("x")) | {"subject": {"reference": reference}}),
    )
    async with node.client() as ward:
        answer = await post(ward, sent)
    assert (answer.status_code, code_of(answer)) == (status, code)
    assert (await count(node, "Patient"), await count(node, "Observation")) == (0, 0)


@pytest.mark.parametrize(
    ("second", "status", "code", "place"),
    [
        (
            entry("POST", "Patient", {"resourceType": "Patient", "gender": "?"}),
            422,
            "invalid-resource",
            ".resource.gender",
        ),
        (entry("POST", "Observation", {"resourceType": "Patient"}), 400, "bad-request", ".resource"),
        (entry("POST", "Nothing", {"resourceType": "Nothing"}), 404, "type-unknown", ""),
        (entry("POST", "Consent", consent()), 405, "read-only", ""),
        (entry("PUT", "Patient/a", patient("b")), 400, "id-differs", ".resource.id"),
        (entry("PUT", "Patient", patient("b")), 400, "criteria-missing", ""),
        (entry("PUT", "Patient/p1", patient("p1"), ifMatch='W/"7"'), 412, "version", ""),
        (entry("DELETE", "Patient?identifier=x"), 405, "method-not-allowed", ""),
        (entry("DELETE", "Patient/never"), 404, "not-found", ""),
        (entry("PATCH", "Patient/p1", {"resourceType": "Binary"}), 415, "patch-type", ""),
        (entry("PATCH", "Patient?identifier=x", {"gender": "male"}), 405, "method-not-allowed", ""),
        (entry("PATCH", "Patient/p1"), 400, "bad-request", ""),
        (entry("PATCH", "Patient/never", {"gender": "male"}), 404, "not-found", ""),
        (entry("PATCH", "Patient/p1", {"gender": "male"}, ifMatch='W/"7"'), 412, "version", ""),
        (entry("PATCH", "Patient/p1", {"gender": "?"}), 422, "invalid-resource", ".resource.gender"),
        (entry("PATCH", "Patient/p1", {"id": "p2"}), 422, "patch-result", ".resource.id"),
        (entry("PATCH", "Patient/p1?x=1", {"gender": "male"}), 400, "parameter", ""),
        (entry("PATCH", "Consent/c1", {"status": "inactive"}), 405, "read-only", ""),
        (
            entry("PATCH", "Patient/p1", {"managingOrganization": {"reference": B}}),
            400,
            "loose-reference",
            ".resource.managingOrganization.reference",
        ),
        (
            entry("PATCH", "Patient/p1", {"managingOrganization": {"reference": "Organization?identifier=x"}}),
            412,
            "unmatched",
            ".resource.managingOrganization.reference",
        ),
        (entry("POST", "Patient"), 400, "bad-request", ""),
        ({"request": {"method": "POST"}}, 400, "bad-request", ".request.url"),
        (entry("PUT", "Patient/p1", patient("p1"), ifMatch=1), 400, "bad-request", ".request.ifMatch"),
        (entry("PUT", "Patient/p1", patient("p1"), ifMatch=['W/"1"']), 400, "bad-request", ".request.ifMatch"),
        (entry("POST", "Patient", patient("x"), ifNoneExist=5), 400, "bad-request", ".request.ifNoneExist"),
        (entry("POST", "Patient", patient("x"), ifNoneExist=""), 400, "bad-request", ".request.ifNoneExist"),
        (entry("PUT", "Patient/p1", patient("p1"), zap=1), 400, "bad-request", ".request.zap"),
        (entry("PUT", "Patient/p1", patient("p1")) | {"foo": 1}, 400, "bad-request", ".foo"),
        (entry("PUT", "Patient/p1", patient("p1")) | {"fullUrl": 7}, 400, "bad-request", ".fullUrl"),
        (entry("PUT", "Patient/p1?foo=bar", patient("p1")), 400, "parameter", ""),
        (entry("DELETE", "Patient/p1?foo=bar"), 400, "parameter", ""),
        (entry("PUT", "Patient/p1", patient("p1"), ifNoneMatch="*"), 412, "version", ""),
        (entry("PUT", "Patient/p1", patient("p1"), ifNoneMatch='W/"1"'), 412, "version", ""),
        ({}, 400, "bad-request", ".request"),
        (entry("PUT", "Patient/x", patient("x"), A), 400, "duplicate", ""),
        (entry("PUT", "Patient/first", patient("first")), 400, "duplicate", ""),
        (entry("POST", "http://elsewhere.example/Patient", patient("x")), 400, "bad-request", ".request.url"),
    ],
)
async def test_one_wrong_entry_refuses_the_whole_and_is_named(
    node: Node, second: Json, status: int, code: str, place: str | None
) -> None:
    await node.put(patient())
    first = entry("PUT", "Patient/first", patient("first"), A)
    async with node.client() as ward:
        answer = await post(ward, bundle(first, second))
    assert (answer.status_code, code_of(answer)) == (status, code)
    assert places(answer) == ([] if place is None else [f"Bundle.entry[1]{place}"])
    assert await count(node, "Patient") == 1


@pytest.mark.parametrize(
    "scope",
    [
        "system/Observation.crus system/Patient.cu",  # may not search them
        "system/Observation.crus system/Patient.s?identifier=MR-x",
        "user/*.cruds",
    ],
)
async def test_a_conditional_reference_needs_the_scope_to_search_for_it(node: Node, scope: str) -> None:
    """Else whoever may write anything learns who is there."""
    await node.put(patient())
    for who in ("MR-p1", "MR-nobody"):
        about = observation("x") | {"subject": {"reference": f"Patient?identifier={SYSTEM}|{who}"}}
        async with node.client("ward", scope) as ward:
            answer = await post(ward, bundle(entry("POST", "Observation", bare(about))))
        assert (answer.status_code, code_of(answer), places(answer)) == (403, "scope", ["Bundle.entry[0]"])
    assert await count(node, "Observation") == 0


async def test_a_conditional_reference_finds_nothing_hidden(node: Node) -> None:
    """As a search: of a patient who denied it, her data answer like absent ones, whatever their values are."""
    await node.put(patient(), patient("p2", number="MR-p2"), observation("o1"))
    async with node.client() as ward:
        about = {"hasMember": [{"reference": "Observation?patient=p1&code=2160-0"}]}
        sent = bundle(entry("POST", "Observation", bare(observation("x", of="p2")) | about))
        assert (await post(ward, sent)).status_code == 200
        assert (await ward.post("/fhir/Consent", json=consent("deny", to=None))).status_code == 201
        answer = await post(ward, sent)
        absent = await post(
            ward,
            bundle(
                entry(
                    "POST",
                    "Observation",
                    bare(observation("x", of="p2"))
                    | {"hasMember": [{"reference": "Observation?patient=p1&code=none"}]},
                )
            ),
        )
    assert (answer.status_code, code_of(answer)) == (412, "unmatched")
    assert answer.content == absent.content
    assert places(answer) == ["Bundle.entry[0].resource.hasMember[0].reference"]


ELSEWHERE = "http://elsewhere.example/fhir"


async def test_a_relative_reference_is_of_the_server_that_full_url_names(node: Node) -> None:
    """R4, resolving references in Bundles: `Patient/p1` of another server is not ours of that id."""
    await node.put(patient())
    about = bare(observation("x")) | {"subject": {"reference": "Patient/p1"}}
    new = entry("POST", "Patient", bare(patient("x", family="Fremd")), f"{ELSEWHERE}/Patient/p1")
    async with node.client() as ward:
        both = await post(ward, bundle(new, entry("POST", "Observation", about, f"{ELSEWHERE}/Observation/9")))
        assert statuses(both) == ["201", "201"]
        made = decode_json(both.content)["entry"][0]["response"]["location"].split("/fhir/")[1].split("/_history")[0]
        assert (await ward.get("/fhir/Observation?patient=p1")).json()["total"] == 0
        found = (await ward.get(f"/fhir/Observation?patient={made}")).json()
        assert [one["resource"]["subject"]["reference"] for one in found["entry"]] == [made]
        for kind, status in (("transaction", 400), ("batch", 200)):
            alone = bundle(entry("POST", "Observation", about, f"{ELSEWHERE}/Observation/9"), kind=kind)
            answer = await post(ward, alone)
            assert answer.status_code == status
            said = decode_json(answer.content)
            told = said if kind == "transaction" else said["entry"][0]["response"]["outcome"]
            assert told["issue"][0]["details"]["coding"][0]["code"] == "loose-reference"
            assert told["issue"][0]["expression"] == ["Bundle.entry[0].resource.subject.reference"]
        ours = entry("POST", "Observation", about, f"{node.services.base}/Observation/9")
        assert statuses(await post(ward, bundle(ours))) == ["201"]
        assert (await ward.get("/fhir/Observation?patient=p1")).json()["total"] == 1


@pytest.mark.parametrize("order", [1, -1])
async def test_criteria_hold_for_what_comes_with_them(node: Node, order: int) -> None:
    conditional = entry("POST", "Patient", bare(patient("x", number="MR-x")), ifNoneExist=WHO)
    plain = entry("POST", "Patient", bare(patient("y", number="MR-x")))
    other = entry("POST", "Patient", bare(patient("z", number="MR-z")))
    async with node.client() as ward:
        answer = await post(ward, bundle(*[conditional, other, plain][::order]))
        assert (answer.status_code, code_of(answer), places(answer)) == (400, "duplicate", ["Bundle.entry[2]"])
        assert await count(node, "Patient") == 0
        assert statuses(await post(ward, bundle(conditional, other))) == ["201", "201"]


async def test_equal_criteria_are_refused(node: Node) -> None:
    one = entry("POST", "Patient", bare(patient("x")), ifNoneExist="identifier=MR-x")
    async with node.client() as ward:
        answer = await post(ward, bundle(one, one))
    assert (answer.status_code, code_of(answer)) == (400, "duplicate")
    assert await count(node, "Patient") == 0


WHO = f"identifier={SYSTEM}|MR-x"
ABOUT = f"identifier={SYSTEM}|a"
SPELLED = [
    ("Patient", f"{WHO}&gender=female", f"gender=female&{WHO}"),
    ("Patient", f"{WHO}&name=a,b", f"{WHO}&name=b,a,b"),
    ("Patient", f"{WHO}&{WHO}", WHO),
    ("Patient", WHO, f"identifier={SYSTEM}%7CMR-x"),
    ("Patient", "identifier=a:b", "identifier=a%3Ab"),
    ("Patient", f"{WHO}&birthdate=2026-01-01", f"{WHO}&birthdate=eq2026-01-01"),
    ("Observation", f"{ABOUT}&subject=Patient/p1", f"{ABOUT}&subject:Patient=p1"),
    ("Observation", f"{ABOUT}&patient=Patient/p1", f"{ABOUT}&patient=p1"),
    ("Observation", f"{ABOUT}&patient=p1", f"{ABOUT}&patient=http://127.0.0.1:8080/fhir/Patient/p1"),
    ("Observation", "patient.identifier=a,b", "patient:Patient.identifier=b,a"),
]


@pytest.mark.parametrize(("kind", "one", "other"), SPELLED, ids=lambda text: text[-24:])
async def test_the_same_criteria_in_another_spelling_are_refused(node: Node, kind: str, one: str, other: str) -> None:
    await node.put(patient())
    body = bare(patient("x") if kind == "Patient" else observation("x"))
    sent = bundle(entry("POST", kind, body, ifNoneExist=one), entry("PUT", f"{kind}?{other}", body))
    async with node.client() as ward:
        answer = await post(ward, sent)
    assert (answer.status_code, code_of(answer), places(answer)) == (400, "duplicate", ["Bundle.entry[1]"])
    assert (await count(node, "Patient"), await count(node, "Observation")) == (1, 0)


DIFFERENT = [
    ("Patient", WHO, f"identifier={SYSTEM}|MR-X1"),
    ("Patient", f"{WHO}&name=a,b", f"{WHO}&name=a\\,b"),
    ("Patient", f"{WHO}&name=a", f"{WHO}&name:exact=a"),
    ("Patient", f"{WHO}&birthdate=2026-01", f"{WHO}&birthdate=ge2026-01"),
    ("Observation", f"{ABOUT}&subject=Patient/p1", f"{ABOUT}&subject=Group/p1"),
]


@pytest.mark.parametrize(("kind", "one", "other"), DIFFERENT, ids=lambda text: text[-24:])
async def test_other_criteria_are_other_criteria(node: Node, kind: str, one: str, other: str) -> None:
    await node.put(patient())
    body = bare(patient("x", number="7") if kind == "Patient" else observation("x"))
    sent = bundle(entry("POST", kind, body, ifNoneExist=one), entry("POST", kind, body, ifNoneExist=other))
    async with node.client() as ward:
        answer = await post(ward, sent)
    assert statuses(answer) == ["201", "201"]


@pytest.mark.parametrize(
    "refused",
    [
        entry("POST", "Observation", bare(observation("x"))),  # what comes
        entry("PUT", "Observation/o1", observation("o1")),
        entry("PUT", "Observation/o1", observation("o1", code="718-7")),  # what stands
        entry("PATCH", "Observation/o2", {"code": observation("x")["code"]}),
        entry("PATCH", "Observation/o1", {"code": observation("x", code="718-7")["code"]}),
    ],
)
async def test_a_refusal_by_a_granular_scope_is_recorded_and_named(node: Node, refused: Json) -> None:
    """As that of a write that is sent alone: one event, and nothing written."""
    await node.put(patient(), observation("o1"), observation("o2", code="718-7"))
    before = node.services.ledger.size
    sent = bundle(entry("PUT", "Observation/o3", observation("o3", code="718-7")), refused)
    scope = "system/Observation.cu?code=http://loinc.org|718-7 system/Observation.r"
    async with node.client("ward", scope) as ward:
        answer = await post(ward, sent)
    assert (answer.status_code, code_of(answer), places(answer)) == (403, "scope", ["Bundle.entry[1]"])
    assert [kind for kind in await node.kinds(before) if kind != "access.read"] == ["access.denied"]
    assert await count(node, "Observation") == 2


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"resourceType": "Bundle", "type": "collection"}, 400),
        ({"resourceType": "Patient"}, 400),
        ({"resourceType": "Bundle", "type": "batch", "entry": {}}, 400),
        ({"resourceType": "Bundle", "type": "batch", "entry": [1]}, 400),
        (
            {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": "x"}}] * 5001},
            413,
        ),
        ({"resourceType": "Bundle", "type": "transaction"}, 200),
    ],
)
async def test_what_is_no_bundle_of_requests_is_refused(node: Node, body: Json, status: int) -> None:
    async with node.client() as ward:
        assert (await post(ward, body)).status_code == status


async def test_each_kind_of_write_needs_its_scope(node: Node) -> None:
    await node.put(patient())
    sent = bundle(
        entry("POST", "Observation", bare(observation("x"))), entry("PUT", "Patient/p1", patient(family="Neu"))
    )
    async with node.client("ward", "system/Observation.cruds") as ward, node.client("north") as north:
        answer = await post(ward, sent)
        foreign = await post(north, sent)
    assert (answer.status_code, code_of(answer), places(answer)) == (403, "scope", ["Bundle.entry[1]"])
    assert (foreign.status_code, code_of(foreign)) == (403, "custodian")
    assert await count(node, "Observation") == 0


async def test_what_is_hidden_is_not_deleted_and_answers_like_what_is_absent(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    async with node.client() as ward:
        assert (await ward.post("/fhir/Consent", json=consent("deny", to=None))).status_code == 201
        hidden = await post(ward, bundle(entry("DELETE", "Observation/o1")))
        absent = await post(ward, bundle(entry("DELETE", "Observation/o9")))
    assert (hidden.status_code, hidden.content) == (404, absent.content)
    assert await count(node, "Observation") == 1


async def test_300_new_patients_find_their_keys(node: Node) -> None:
    entries = [entry("POST", "Patient", bare(patient(f"x{number}"))) for number in range(300)]
    async with node.client() as ward:
        answer = await post(ward, bundle(*entries))
    assert Counter(statuses(answer)) == {"201": 300}
    assert await count(node, "Patient") == 300


async def test_cycles_are_no_trouble(node: Node) -> None:
    await node.put(patient())
    first = bare(observation("x")) | {"hasMember": [{"reference": B}]}
    second = bare(observation("y")) | {"derivedFrom": [{"reference": A}]}
    async with node.client() as ward:
        answer = await post(
            ward, bundle(entry("POST", "Observation", first, A), entry("POST", "Observation", second, B))
        )
    assert statuses(answer) == ["201", "201"]


async def test_parallel_transactions_with_one_condition_make_one_patient(node: Node) -> None:
    sent = bundle(
        entry("POST", "Patient", bare(patient("x")), A, ifNoneExist=f"identifier={SYSTEM}|MR-x"),
        entry("POST", "Observation", bare(observation("x")) | {"subject": {"reference": A}}),
    )
    async with node.client() as ward:
        answers = await asyncio.gather(*(post(ward, sent) for _ in range(32)))
    assert Counter(statuses(answer)[0] for answer in answers) == {"201": 1, "200": 31}
    assert (await count(node, "Patient"), await count(node, "Observation")) == (1, 32)


# --- batch ------------------------------------------------------------------------------------------------------------


async def test_each_entry_of_a_batch_stands_alone(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    sent = bundle(
        entry("POST", "Observation", bare(observation("x"))),
        entry("POST", "Observation", {"resourceType": "Observation"}),
        entry("GET", "Observation/o1"),
        entry("GET", "Observation/none"),
        entry("PUT", "Patient/p1", patient(family="Neu"), ifMatch='W/"9"'),
        entry("DELETE", "Observation/o1"),
        entry("GET", "Observation?patient=p1&_summary=count"),
        entry("POST", "Consent", consent()),
        entry("POST", "", {"resourceType": "Bundle"}),
        entry("GET", "http://elsewhere.example/fhir/Patient/1"),
        entry("OPTIONS", "Patient"),
        entry("PUT", "Patient/p1", patient(family="Neu"), ifMatch=1),
        entry("GET", "Patient/p1", ifNoneMatch='W/"1"'),
        kind="batch",
    )
    async with node.client() as ward:
        answer = await post(ward, sent)
    assert answer.status_code == 200
    refused = ["400"] * 4
    assert statuses(answer) == ["201", "422", "200", "404", "412", "204", "200", "201", *refused, "304"]
    body = decode_json(answer.content)
    assert (body["type"], body["entry"][2]["resource"]["id"]) == ("batch-response", "o1")
    assert body["entry"][1]["response"]["outcome"]["issue"][0]["expression"][0].startswith("Observation")


async def test_an_entry_was_modified_when_its_resource_says(node: Node) -> None:
    await node.put(patient())
    sent = bundle(entry("GET", "Patient/p1"), entry("PUT", "Patient/p1", patient(family="Neu")), kind="batch")
    async with node.client() as ward:
        entries = decode_json((await post(ward, sent, Prefer="return=representation")).content)["entry"]
    for one in entries:
        assert one["response"]["lastModified"] == one["resource"]["meta"]["lastUpdated"]


async def test_each_entry_of_a_batch_has_its_own_event(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    before = node.services.ledger.size
    sent = bundle(
        entry("GET", "Observation/o1"), entry("GET", "Patient/p1"), entry("GET", "Patient/none"), kind="batch"
    )
    async with node.client() as ward:
        await post(ward, sent)
    assert await node.kinds(before) == ["access.read", "access.read", "access.denied"]


async def test_links_between_the_entries_of_a_batch_are_refused(node: Node) -> None:
    sent = bundle(
        entry("POST", "Patient", bare(patient("x")), A),
        entry("POST", "Observation", bare(observation("x")) | {"subject": {"reference": A}}, B),
        kind="batch",
    )
    async with node.client() as ward:
        answer = await post(ward, sent)
    assert statuses(answer) == ["201", "400"]


async def test_a_read_after_the_commit_that_cannot_be_recorded_is_503_alone(node: Node) -> None:
    await node.put(patient())
    sent = bundle(entry("POST", "Observation", bare(observation("x"))), entry("GET", "Patient/p1"))
    async with node.client() as ward:
        await node.services.ledger.close()
        answer = await post(ward, sent)
    assert (answer.status_code, statuses(answer)) == (200, ["201", "503"])
    assert b"Muster" not in answer.content

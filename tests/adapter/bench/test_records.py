"""The records of the benchmark are what its goals speak of: valid R4, 25 resources of 0.8 kB, no two the same."""

from collections import Counter
from collections.abc import Iterator

from adapter.bench import records
from adapter.bench.records import Json, Records
from mappings.fhir.codec import decode, encode
from mappings.fhir.invariants import broken
from mappings.fhir.validate import validate


def resources(transaction: bytes) -> list[Json]:
    return [entry["resource"] for entry in decode(transaction)["entry"]]


def everything() -> Iterator[Json]:
    for transaction in (records.staff(), *records.large(), Records().transaction(7)):
        yield from resources(transaction)


def test_every_resource_is_valid() -> None:
    for resource in everything():
        named = {"id": "x", **resource}
        assert not [*validate(named), *broken(named)], resource["resourceType"]


def test_a_record_has_25_resources_of_eight_tenths_of_a_kilobyte() -> None:
    found = resources(Records().transaction(0))
    assert len(found) == records.RESOURCES
    assert 700 < sum(len(encode(one)) for one in found) / len(found) < 1_000


def test_what_is_there_once_is_counted_whole() -> None:
    once = [one for transaction in (records.staff(), *records.large()) for one in resources(transaction)]
    kinds = Counter(one["resourceType"] for one in once)
    assert (len(once), kinds["Observation"], kinds["Patient"]) == (records.RESERVED, records.LARGE, 1)
    assert records.RESERVED % records.RESOURCES == 0


def test_a_copy_is_another_patients_and_the_same_in_each_run() -> None:
    one, again, other = Records().transaction(1), Records().transaction(1), Records().transaction(2)
    assert one == again
    assert {entry["fullUrl"] for entry in decode(one)["entry"]}.isdisjoint(
        entry["fullUrl"] for entry in decode(other)["entry"]
    )
    assert resources(one)[0]["identifier"][0]["value"] == records.identifier(1)
    assert resources(one)[0]["identifier"] != resources(other)[0]["identifier"]


def test_a_search_of_a_record_finds_two() -> None:
    asked = [
        one
        for one in resources(Records().transaction(3))
        if one["resourceType"] == "Observation" and one["code"]["coding"][0]["code"] == records.ASKED
    ]
    assert len(asked) == 2

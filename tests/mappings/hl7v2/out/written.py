"""Messages written for tests, and the facts of a conversion to compare."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from mappings.convert import Conversion, to_fhir
from mappings.hl7v2.out import Receiver, Written, to_v2
from tests.mappings.hl7v2.messages import default

Json = dict[str, Any]
AT = datetime(2025, 3, 8, 12, tzinfo=UTC)
MESSAGES = {"adt": "ADT^A08", "oru": "ORU^R01", "mdm": "MDM^T02"}
VIENNA = ZoneInfo("Europe/Vienna")
# What a message about a message says, and who made it
OF_THE_MESSAGE = frozenset({"MessageHeader", "Provenance", "Device"})

Fact = tuple[str, str, str]  # type of the resource, path, value


def receiver(version: str = "2.5.1", **settings: Any) -> Receiver:
    return Receiver.of(default(), version=version, **{"zone": VIENNA, **settings})


def write(resources: list[Json], message: str = "ORU^R01", to: Receiver | None = None, check: bool = False) -> Written:
    return to_v2(resources, message, to or receiver(), control_id="X1", at=AT, check=check)


def lines(written: Written) -> list[str]:
    return written.data.decode().rstrip("\r").split("\r")


def line(written: Written, name: str) -> list[str]:
    """The fields of the first segment of a name; MSH shifted as in the standard."""
    fields = next(each for each in lines(written) if each.startswith(name)).split("|")
    return ["MSH", *fields] if name == "MSH" else fields


def resources(conversion: Conversion) -> list[Json]:
    return [mapped.body for mapped in conversion.resources if mapped.mode != "event"]


def again(written: Written) -> Conversion:
    return to_fhir(written.data, default())


def facts(conversion: Conversion, stable: frozenset[str] = frozenset()) -> Counter[Fact]:
    """Every leaf of every resource, by type and path, without what is the message's own. Resources that nothing but
    their place or a number that was lost identifies have other ids afterwards: a reference counts by the type it
    leads to, and by its target where that is in `stable`.
    """
    found: Counter[Fact] = Counter()
    for body in resources(conversion):
        if body["resourceType"] not in OF_THE_MESSAGE:
            found.update(_facts({**body, "meta": {}, "id": [], "contained": []}, body["resourceType"], "", stable))
            for inside in body.get("contained", ()):
                found.update(_facts({**inside, "id": []}, inside["resourceType"], "", stable))
    return found


def names(conversion: Conversion) -> frozenset[str]:
    return frozenset(f"{body['resourceType']}/{body['id']}" for body in resources(conversion))


def _facts(value: Any, name: str, path: str, stable: frozenset[str]) -> Iterator[Fact]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _facts(each, name, f"{path}.{key}" if path else key, stable)
    elif isinstance(value, list):
        for each in value:
            yield from _facts(each, name, path, stable)
    elif path.endswith("reference") and value not in stable:
        yield name, path, str(value).partition("/")[0].partition("#")[0]
    else:
        yield name, path, str(value)

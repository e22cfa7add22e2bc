"""Messages for tests: built from segments, so that a test holds only what it needs."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mappings.convert import Conversion, Mapped, Profile, load_profile, to_fhir
from mappings.merge import Settled, settle

Json = dict[str, Any]

ROOT = Path(__file__).parents[3]
SAMPLES = sorted((ROOT / "samples/hl7v2").glob("*.hl7"))
BROKEN = frozenset({"broken-no-msh"})  # no message can be made of it
MR = "^^^HOSP&2.999.1.4&ISO^MR"


@cache
def default() -> Profile:
    return load_profile("default")


@cache
def profile_with(folder: Path) -> Profile:
    return load_profile(folder)


def segment(name: str, /, **fields: str) -> str:
    """`segment("PID", f3="4711^^^HOSP", f8="F")`."""
    numbers = {int(key[1:]): value for key, value in fields.items()}
    return "|".join([name, *(numbers.get(n, "") for n in range(1, max(numbers, default=0) + 1))])


def header(event: str = "ADT^A08", at: str = "20250304081500+0100", version: str = "2.5.1") -> str:
    return f"MSH|^~\\&|SYS|HOSP|CB|HOSP|{at}||{event}|ID1|P|{version}"


def message(*segments: str) -> bytes:
    return "\r".join(segments).encode()


def convert(*segments: str, profile: Profile | None = None, trace: bool = False) -> Conversion:
    return to_fhir(message(*segments), profile or default(), trace=trace)


def adt(event: str, *segments: str, at: str = "20250304081500+0100", number: str = "4711") -> Conversion:
    """A message about one patient, its EVN-2 at `at`."""
    return convert(header(f"ADT^{event}", at), f"EVN|{event}|{at}", f"PID|1||{number}{MR}", *segments)


def oru(*segments: str, at: str = "20250304120000+0100", profile: Profile | None = None) -> Conversion:
    return convert(header("ORU^R01", at), f"PID|1||4711{MR}", *segments, profile=profile)


def obr(number: str = "F1", status: str = "F", code: str = "24323-8^Panel^LN", **fields: str) -> str:
    known = {"f1": "1", "f3": f"{number}^LAB^2.999.3.1^ISO", "f4": code, "f7": "20250304090000+0100", "f25": status}
    return segment("OBR", **(known | fields))


def obx(value: str = "98", kind: str = "NM", code: str = "2345-7^Glucose^LN", status: str = "F", **fields: str) -> str:
    known = {"f1": "1", "f2": kind, "f3": code, "f5": value, "f11": status}
    return segment("OBX", **(known | fields))


def bodies(conversion: Conversion, kind: str) -> list[Json]:
    return [mapped.body for mapped in conversion.resources if mapped.body["resourceType"] == kind]


def one(conversion: Conversion, kind: str) -> Json:
    found = bodies(conversion, kind)
    assert len(found) == 1, f"{len(found)} {kind}"
    return found[0]


def mapped(conversion: Conversion, kind: str) -> Mapped:
    (found,) = [each for each in conversion.resources if each.body["resourceType"] == kind]
    return found


def codes(conversion: Conversion) -> set[str]:
    return {issue.code for issue in conversion.issues}


class Store:
    """What conversions leave behind, by the pure update rule alone."""

    def __init__(self) -> None:
        self.bodies: dict[str, Json] = {}
        self.clocks: dict[str, Mapping[str, str]] = {}
        self.noticed: list[str] = []

    def take(self, conversion: Conversion) -> "Store":
        for each in conversion.resources:
            if each.mode == "event":
                continue
            reference = f"{each.body['resourceType']}/{each.body['id']}"
            found: Settled = settle(self.bodies.get(reference), each, self.clocks.get(reference, {}))
            self.clocks[reference] = found.clock
            self.noticed += [issue.code for issue in found.issues]
            if found.body is not None:
                self.bodies[reference] = found.body
        return self

    def one(self, kind: str) -> Json:
        found = self.of(kind)
        assert len(found) == 1, f"{len(found)} {kind}"
        return found[0]

    def of(self, kind: str) -> list[Json]:
        return [body for body in self.bodies.values() if body["resourceType"] == kind]

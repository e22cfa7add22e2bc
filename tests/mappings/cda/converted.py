"""Documents converted for tests: one call from a fragment to what it became, checked against R4 on the way."""

from functools import cache
from typing import Any

from mappings.convert import Conversion, to_fhir
from mappings.fhir.validate import validate
from mappings.profile import Profile, load_profile
from tests.mappings.cda.documents import in_section, minimal, wrapped

Json = dict[str, Any]


@cache
def default() -> Profile:
    return load_profile("default")


def convert(data: bytes, *, trace: bool = False) -> Conversion:
    """A document; every resource of it must be R4's."""
    done = to_fhir(data, default(), trace=trace)
    faults = [(m.body["resourceType"], f.expression, f.text) for m in done.resources for f in validate(m.body)]
    assert faults == []
    assert len({outcome.place for outcome in done.tally}) == len(done.tally)
    return done


def of_fragment(fragment: str, section: str | None = None) -> Conversion:
    """A statement, an entry or a section, in the least document around it."""
    return convert(wrapped(fragment, section))


def of_sections(*sections: tuple[str, str], **header: str) -> Conversion:
    """Sections by LOINC code and content."""
    return convert(minimal("".join(in_section(content, code) for code, content in sections), **header))


def every(done: Conversion, kind: str) -> list[Json]:
    """The bodies of one type, in order."""
    return [m.body for m in done.resources if m.body["resourceType"] == kind]


def one(done: Conversion, kind: str) -> Json:
    """The only body of one type."""
    (found,) = every(done, kind)
    return found


def codes(done: Conversion) -> list[str]:
    """The codes of the issues."""
    return [issue.code for issue in done.issues]


def outcomes(done: Conversion) -> list[tuple[str, str]]:
    """(element, outcome) of each statement, in document order."""
    ordered = sorted(done.tally, key=lambda outcome: (outcome.place.line, outcome.place.path))
    return [(outcome.tag, outcome.outcome) for outcome in ordered]

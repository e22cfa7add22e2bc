"""What verbs of `map` say of CDA documents: places are paths and lines, statements are counted by what they became."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from adapter.cli.console import OPTIONS, emit, line, progress

if TYPE_CHECKING:
    from mappings.cda.explain import Explanation, Fact
    from mappings.profile import Profile
    from mappings.rows.table import Row


def explain(data: bytes, profile: "Profile", path: str, place: str, *, values: bool) -> None:
    """For each FHIR value the element it came from; what was not mapped; what became of the statements."""
    from mappings.cda.explain import explain as read

    found = read(data, profile)
    facts = [each for each in found.facts if _asked(each, path, place)]
    left = [each for each in found.unmapped if not path and each.place.path.startswith(place)]
    for fact in facts:
        _show(fact, found if values else None)
    for one in left:
        value = {"unmapped": one.place.path, "line": one.place.line, "reason": one.reason}
        shown = found.said(one.place) if values else ""
        value |= {"value": shown} if values else {}
        emit("chartbridge.map.unmapped/1", value, f"not mapped: {one.place} {one.reason} {shown}".rstrip())
    counted = ", ".join(f"{number} {what}" for what, number in found.tally.items())
    emit("chartbridge.map.tally/1", {"tally": found.tally}, counted)
    progress(f"{len(facts)} values, {len(left)} places not mapped")


def _asked(fact: "Fact", path: str, place: str) -> bool:
    kind = fact.resource.split("/")[0]
    where = fact.place.path if fact.place is not None else ""
    return f"{kind}.{fact.path}".startswith(path) and where.startswith(place)


def _show(fact: "Fact", found: "Explanation | None") -> None:
    content = {"value": found.said(fact.place)} if found is not None else {}
    if OPTIONS.json:
        where = (fact.place.path, fact.place.line) if fact.place is not None else ("", 0)
        value = asdict(fact) | {"path": f"{fact.resource}#{fact.path}", "place": where[0], "line": where[1]}
        del value["resource"]
        emit("chartbridge.map.explain/1", value | content, "")
        return
    kind, _, id_ = fact.resource.partition("/")
    left = f"{kind}/{id_[:8]:<8} {fact.path:<44} ← {fact.place or ''!s} {fact.type:<24}"
    line(f"{left} {fact.row:<28} {fact.source} {content.get('value', '')}".rstrip())


def lint(data: bytes, profile: "Profile") -> list[tuple[str, str]]:
    """(severity, finding) of a document: whether it can be read at all."""
    from mappings.cda.receipt import receipt
    from mappings.errors import MappingError

    try:
        found = receipt(data, profile)
    except MappingError as exc:
        return [("error", str(exc))]
    return [] if len(found.patients) == 1 else [("error", "it does not name one patient")]


def coverage(data: Sequence[bytes], profile: "Profile", *, own: bool = False) -> tuple[int, list["Row"]]:
    """(how many rows were fired, those that were not): the rows of messages where there are messages, those of
    documents where there are documents; `own`: the profile's own alone, of both."""
    from mappings.convert import is_document

    documents = [each for each in data if is_document(each)]
    messages = [each for each in data if not is_document(each)]
    fired, silent = 0, list["Row"]()
    if messages or own:
        number, left = _of_messages(messages, profile)
        fired, silent = number, [*left]
    if documents or (own and profile.cda.folders):
        number, left = _of_documents(documents, profile)
        fired, silent = fired + number, [*silent, *left]
    return fired, [row for row in silent if not own or row.overlay != "base"]


def _of_messages(data: list[bytes], profile: "Profile") -> tuple[int, tuple["Row", ...]]:
    from mappings.hl7v2.explain import coverage as measure

    found = measure(data, profile)
    return len(found.fired), found.silent


def _of_documents(data: list[bytes], profile: "Profile") -> tuple[int, tuple["Row", ...]]:
    from mappings.cda.explain import coverage as measure

    found = measure(data, profile)
    return len(found.fired), found.silent

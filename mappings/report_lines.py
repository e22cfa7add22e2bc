"""The lines of a stored report and those of a new statement about it.

`DiagnosticReport.result` is the union of what was sent, less what was withdrawn. A line that only its place told apart
(`by-place` on its reference: the n-th of equal code and sub-id) cannot be withdrawn by name: it goes when a newer
report, full because it repeats every line that has a name, does not repeat it (`line-withdrawn`). Its Observation
stays stored; who acted on it can be shown what was there.

Source: design chapter HL7 v2 §9, corrections.
"""

from typing import Any

from mappings.fhir.values import BY_PLACE
from mappings.issues import Issue, issue

Json = dict[str, Any]
_DONE = frozenset({"final", "amended", "corrected", "appended"})
_WITHDRAWN = "result[reference="


def with_lines(old: Json, body: Json, clear: tuple[str, ...]) -> tuple[Json, tuple[Issue, ...]]:
    """(the new report with the lines it keeps, an issue for each that it let go)."""
    gone = {path[len(_WITHDRAWN) : -1] for path in clear if path.startswith(_WITHDRAWN)}
    stored = [each for each in old.get("result", ()) if each.get("reference") not in gone]
    sent = {each.get("reference") for each in body.get("result", ())}
    silent = [each for each in stored if each.get("reference") not in sent]
    omitted = [each for each in silent if _by_place(each)]
    if not omitted or len(omitted) < len(silent) or not sent or body.get("status") not in _DONE:
        omitted = []
    left_out = {each.get("reference") for each in omitted}
    lines = [each for each in stored if each.get("reference") not in left_out]
    known = {each.get("reference") for each in lines}
    lines += [each for each in body.get("result", ()) if each.get("reference") not in known]
    issues = tuple(issue("line-withdrawn") for _ in omitted)
    return ({**body, "result": lines} if lines else body), issues


def _by_place(line: Json) -> bool:
    return any(each.get("url") == BY_PLACE for each in line.get("extension", ()))

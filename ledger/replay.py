"""Replay: was each permit in the log justified by the entry it rests on?

For a permit at `i` with the opened basis `b`, in this order:
1. `b` is of this log and precedes `i`
2. its type grants: a consent granted or amended, a policy adopted, a break-glass declared; and it was not refused
3. nothing before `i` has ended it: the same handle amended, revoked or expired, the policy retired
4. the permit's time is in [nb, exp) of the consent, before `until` of the break-glass
5. both are about the same subject (a policy is about nobody)

What the openings do not tell is `unopened`, never a guess: a field that is not disclosed, entries that are not here, an
ending under a handle that is not disclosed and may be this one. Whether a consent's *scope* covered what was read is
for whoever can read the consent: `adapter/access/replay.py`.
Source: ledger chapter §13.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from ledger.consent import ENDING, EVENTS, GRANTING, Consents
from ledger.errors import EntryError
from ledger.event import NONE, parse_reference

BREAKGLASS = "access.breakglass"
ADOPTED, RETIRED = "policy.adopted", "policy.retired"
_MONTH = 7  # of "2026-03-04T…": tags of two months do not compare
_ACCESS = "access."

Entry = Mapping[str, Any]
Opened = Mapping[str, str]


class Verdict(Enum):
    JUSTIFIED = "justified"
    UNJUSTIFIED = "unjustified"
    UNOPENED = "unopened"


@dataclass(frozen=True, slots=True)
class Finding:
    """What replay says of one permit, and why where it is not justified."""

    index: int
    verdict: Verdict
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Basis:
    """An entry that grants. None is what was not opened, "" what its type does not have."""

    kind: str
    handle: str | None = ""
    subject: str | None = ""
    start: str | None = ""
    end: str | None = NONE
    ended: int | None = None
    refused: bool = False


@dataclass(frozen=True, slots=True)
class _Blind:
    """An ending whose handle was not opened."""

    index: int
    month: str
    tag: str


@dataclass(slots=True)
class Replay:
    """The fold. `take` each entry in order, `gap` where entries are not here; `findings` are in order."""

    shard: str
    findings: list[Finding] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)  # consent entries that no transition allows
    _bases: dict[int, _Basis] = field(default_factory=dict)
    _consents: Consents = field(default_factory=Consents)
    _blind: list[_Blind] = field(default_factory=list)
    _gaps: list[tuple[int, int]] = field(default_factory=list)

    def count(self, verdict: Verdict) -> int:
        return sum(finding.verdict is verdict for finding in self.findings)

    def first(self, verdict: Verdict) -> Finding | None:
        return next((finding for finding in self.findings if finding.verdict is verdict), None)

    def gap(self, start: int, end: int) -> None:
        """Entries [start, end) are not here."""
        self._gaps.append((start, end))

    def take(self, index: int, entry: Entry, opened: Opened) -> Finding | None:
        """One entry, and those of its fields that were opened; the finding where it is a permit."""
        kind = entry["type"]
        if kind in EVENTS:
            self._consent(index, entry, opened)
        elif kind == ADOPTED:
            self._bases[index] = _Basis(kind)
        elif kind == RETIRED:
            self._retire(index, entry)
        elif kind == BREAKGLASS:
            self._declare(index, entry, opened)
        elif kind.startswith(_ACCESS) and entry.get("outcome") == "permit" and "basis" in entry.get("c", {}):
            verdict, why = self._judge(index, entry, opened)
            self.findings.append(Finding(index, verdict, why))
            return self.findings[-1]
        return None

    def _consent(self, index: int, entry: Entry, opened: Opened) -> None:
        kind, handle = entry["type"], opened.get("handle")
        if kind in GRANTING:
            self._bases[index] = _Basis(kind, handle, opened.get("subject"), opened.get("nb"), opened.get("exp"))
        if handle is None:
            if kind in ENDING:
                self._blind.append(_Blind(index, entry["t"][:_MONTH], entry.get("tag", "")))
            return
        moved = self._consents.take(index, kind, handle)
        if moved.refused:
            self.refused.append(index)
            if kind in GRANTING:
                self._bases[index] = replace(self._bases[index], refused=True)
        elif moved.before.index in self._bases:
            self._end(moved.before.index, index)

    def _retire(self, index: int, entry: Entry) -> None:
        try:
            shard, of = parse_reference(str(entry.get("d", {}).get("of", "")))
        except EntryError:
            return
        if shard == self.shard and self._bases.get(of, _Basis("")).kind == ADOPTED:
            self._end(of, index)

    def _declare(self, index: int, entry: Entry, opened: Opened) -> None:
        if entry.get("outcome") != "deny":
            until = str(entry.get("d", {}).get("until", ""))
            self._bases[index] = _Basis(BREAKGLASS, subject=opened.get("subject"), end=until)

    def _end(self, index: int, by: int) -> None:
        if self._bases[index].ended is None:
            self._bases[index] = replace(self._bases[index], ended=by)

    def _judge(self, index: int, entry: Entry, opened: Opened) -> tuple[Verdict, str]:
        """The five rules, in their order."""
        ref = opened.get("basis")
        if ref is None:
            return Verdict.UNOPENED, "its basis is not disclosed"
        try:
            shard, at = parse_reference(ref)
        except EntryError:
            return Verdict.UNJUSTIFIED, "its basis is no reference"
        if shard != self.shard:
            return Verdict.UNOPENED, "its basis is in another log"
        if at >= index:  # 1
            return Verdict.UNJUSTIFIED, "its basis comes after it"
        basis = self._bases.get(at)
        if basis is None:  # 2
            if any(start <= at < end for start, end in self._gaps):
                return Verdict.UNOPENED, "its basis is not here"
            return Verdict.UNJUSTIFIED, "its basis grants nothing"
        if basis.refused:
            return Verdict.UNJUSTIFIED, "its basis was refused"
        if basis.ended is not None:  # 3
            return Verdict.UNJUSTIFIED, "its basis had ended"
        return self._covers(basis, at, entry, opened)

    def _covers(self, basis: _Basis, at: int, entry: Entry, opened: Opened) -> tuple[Verdict, str]:
        """Rules 3 to 5, as far as the openings go: what is known to be wrong comes before what is not known."""
        t, subject = entry["t"], opened.get("subject")
        if (basis.start is not None and t < basis.start) or (basis.end not in (None, NONE) and t >= str(basis.end)):
            return Verdict.UNJUSTIFIED, "it is outside the period of its basis"  # 4
        about = basis.kind != ADOPTED
        if about and None not in (basis.subject, subject) and basis.subject != subject:
            return Verdict.UNJUSTIFIED, "its basis is about another subject"  # 5
        if any(end > at for _, end in self._gaps):
            return Verdict.UNOPENED, "entries between it and its basis are not here"
        if about and None in (basis.handle, basis.start, basis.end, basis.subject, subject):
            return Verdict.UNOPENED, "its basis is not disclosed as a whole"
        if about and basis.kind != BREAKGLASS and self._may_have_ended(at, entry):
            return Verdict.UNOPENED, "a consent that is not disclosed may have ended its basis"
        return Verdict.JUSTIFIED, ""

    def _may_have_ended(self, at: int, entry: Entry) -> bool:
        """Endings of one month as the permit's bear her tag if they are hers; of another month nobody can tell."""
        month, tag = entry["t"][:_MONTH], entry.get("tag", "")
        for blind in reversed(self._blind):
            if blind.index <= at:
                return False
            if blind.month != month or blind.tag == tag:
                return True
        return False

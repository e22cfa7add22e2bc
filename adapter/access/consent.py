"""A patient's consents: read a Consent as rules, and decide one asking by them.

Pure: a Consent and an asking go in, a decision with its basis comes out. Store, log and clock are the gate's.

This version understands typed root rules (`provision.type` permit or deny) by recipient organisation (an identifier),
purpose of use and period. `read` refuses everything wider when it is written (422 `not-supported`, at its place), for a
consent that is half understood opens what its author closed. A wider one that is in the store all the same is read by
`stored`: its permits are void and its denies stand, with whatever in them is not understood taken to hold.

Rules, over all consents of one patient that are active, in period and not superseded:
1. any deny that applies: deny;
2. any permit that applies and has an entry in the log: permit, and that entry is the basis;
3. otherwise the house rule (`policy.py`).

An asking with several purposes meets a deny when any of them is named and a permit only when all of them are.
Among consents of the same organizations and the same policy a newer `dateTime` voids the permits of the older ones, and
lifts their denies while it is itself in force.

Source: FHIR R4 Consent; IHE Privacy Consent on FHIR, typed dialect; access chapter §7, issue item 8.
"""

import calendar
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from adapter.access.identity import Organisation
from adapter.access.policy import Verdict
from adapter.errors import IssueItem, Unprocessable

Json = dict[str, Any]

SCOPE_SYSTEM = "http://terminology.hl7.org/CodeSystem/consentscope"
PURPOSE_SYSTEM = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
ROLE_SYSTEMS = frozenset({"http://terminology.hl7.org/CodeSystem/v3-ParticipationType"})
RECIPIENT_ROLES = frozenset({"IRCP", "PRCP"})  # information recipient, primary information recipient
STATUSES = frozenset({"active", "inactive"})

# members that say nothing about who may see what; everything not listed here or below is refused
_INERT = frozenset(
    "resourceType id meta text language category dateTime performer organization policy policyRule identifier "
    "sourceAttachment sourceReference".split()
)
_READ = frozenset({"status", "scope", "patient", "provision"})
_RULE = frozenset({"id", "type", "period", "actor", "purpose"})
_CODING = frozenset({"id", "system", "code", "display", "version", "userSelected"})

BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
END = datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)

_DATE_TIME = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d))?)?)?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One consent, compiled. No recipients or no purposes: any. It applies from `start` until before `end`."""

    consent: str
    permit: bool
    recipients: frozenset[Organisation]
    purposes: frozenset[str]
    start: datetime
    end: datetime
    line: tuple[frozenset[str], frozenset[str]] | None = None
    dated: datetime | None = None
    understood: bool = True  # where not: its permits are void, and it lifts nothing

    def in_period(self, now: datetime) -> bool:
        return self.start <= now < self.end


@dataclass(frozen=True, slots=True)
class Held:
    """A rule as the store holds it: the reference of its entry in the log, none while that is on its way; the patient
    it is about, by owner, and the transaction that wrote it."""

    rule: Rule
    ref: str | None
    owner: int = 0
    txn: int = 0


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks, for what, and when."""

    organisation: Organisation
    purposes: tuple[str, ...]
    now: datetime


@dataclass(frozen=True, slots=True)
class Decision:
    """Permit with the reference it rests on, and until when that holds (None: no end); or deny."""

    permit: bool
    basis: str = ""
    until: datetime | None = None
    owner: int | None = None  # whom the consent it rests on is about; None for a house rule


DENY = Decision(False)


def decide(held: Sequence[Held], asking: Asking, default: Verdict) -> Decision:
    """Judge one asking by all consents of one patient, whatever their order."""
    rules = [one.rule for one in held]
    applying = [one for one in held if _applies(one.rule, asking)]
    if any(not one.rule.permit and not _lifted(one.rule, rules, asking.now) for one in applying):
        return DENY  # 1
    permits = [one for one in applying if one.ref and _opens(one.rule, rules, asking.now)]
    if permits:  # 2: of several the one that holds longest
        best = max(permits, key=lambda one: (one.rule.end, one.ref or "", one.owner))
        return Decision(True, best.ref or "", best.rule.end if best.rule.end < END else None, best.owner)
    return Decision(default.permit, default.basis)  # 3


def _applies(rule: Rule, asking: Asking) -> bool:
    if not rule.in_period(asking.now) or (rule.recipients and asking.organisation not in rule.recipients):
        return False
    if not rule.purposes:
        return True
    named = [purpose in rule.purposes for purpose in asking.purposes]
    return all(named) if rule.permit else any(named)


def _opens(rule: Rule, rules: Sequence[Rule], now: datetime) -> bool:
    return rule.permit and rule.understood and not _newer(rule, rules, now)


def _newer(rule: Rule, rules: Sequence[Rule], now: datetime) -> list[Rule]:
    """The consents of the same organizations and policy with a newer date, whose period has begun or is over."""
    if rule.line is None or rule.dated is None:
        return []
    return [
        other
        for other in rules
        if other.line == rule.line and other.dated and other.dated > rule.dated and other.start <= now
    ]


def _lifted(rule: Rule, rules: Sequence[Rule], now: datetime) -> bool:
    return any(other.in_period(now) and other.understood for other in _newer(rule, rules, now))


def read(consent: Json, zone: tzinfo) -> Rule:
    """Compile a Consent that is about to be written. Raises Unprocessable, naming everything that is not understood."""
    items = tuple(_unsupported(consent))
    if items:
        raise Unprocessable(
            "this consent says more than this node can enforce", code="consent-not-supported", items=items
        )
    return _compile(consent, zone)


def stored(consent: Json, zone: tzinfo) -> Rule | None:
    """Compile a Consent from the store for deciding: None when it is not in force at all (status, scope)."""
    if consent.get("status") != "active" or not _is_privacy(consent):
        return None
    if not tuple(_unsupported(consent)):
        return _compile(consent, zone)
    return _cautious(consent, zone)


def _cautious(consent: Json, zone: tzinfo) -> Rule:
    """A consent we do not fully understand: a deny for everyone if anything in it may deny, otherwise void."""
    provision = consent.get("provision")
    rule = provision if isinstance(provision, dict) else {}
    closes = rule.get("type") != "permit" or bool(rule.get("provision"))
    start, end = (BEGINNING, END) if closes else _period(rule, zone)
    return Rule(
        consent=str(consent.get("id", "")),
        permit=not closes,
        recipients=frozenset(),
        purposes=frozenset(),
        start=start,
        end=end,
        line=_line(consent),
        dated=_dated(consent, zone),
        understood=False,
    )


def _compile(consent: Json, zone: tzinfo) -> Rule:
    provision = consent["provision"]
    start, end = _period(provision, zone)
    recipients = frozenset(
        Organisation(actor["reference"]["identifier"]["system"], actor["reference"]["identifier"]["value"])
        for actor in provision.get("actor", ())
    )
    purposes = frozenset(purpose["code"] for purpose in provision.get("purpose", ()))
    return Rule(
        consent=str(consent.get("id", "")),
        permit=provision["type"] == "permit",
        recipients=recipients,
        purposes=purposes,
        start=start,
        end=end,
        line=_line(consent),
        dated=_dated(consent, zone),
    )


def _dated(consent: Json, zone: tzinfo) -> datetime | None:
    dated = consent.get("dateTime")
    return moments(dated, zone)[0] if isinstance(dated, str) else None


def _line(consent: Json) -> tuple[frozenset[str], frozenset[str]] | None:
    """What makes two consents versions of one declaration: organizations and policy. None when neither is named."""
    organisations = frozenset(_named(reference) for reference in consent.get("organization", ()))
    policies = {f"{policy.get('authority', '')} {policy.get('uri', '')}" for policy in consent.get("policy", ())}
    for coding in consent.get("policyRule", {}).get("coding", ()):
        policies.add(f"{coding.get('system', '')}|{coding.get('code', '')}")
    return (organisations, frozenset(policies)) if organisations and policies else None


def _named(reference: Json) -> str:
    identifier = reference.get("identifier", {})
    return reference.get("reference") or f"{identifier.get('system', '')}|{identifier.get('value', '')}"


def _is_privacy(consent: Json) -> bool:
    return "patient-privacy" in _scopes(consent)


def _scopes(consent: Json) -> set[str]:
    """What the consent says it governs; research and care are read by other rules than ours."""
    scope = consent.get("scope")
    codings = scope.get("coding", ()) if isinstance(scope, dict) else ()
    return {coding.get("code", "") for coding in codings if coding.get("system") == SCOPE_SYSTEM}


def _unsupported(consent: Json) -> list[IssueItem]:
    """Every place at which the consent is wider than this version. The resource fits the R4 schema."""
    found = [_item(f"Consent.{name}") for name in consent if name not in _INERT and name not in _READ]
    if consent.get("status") not in STATUSES:
        found.append(_item("Consent.status"))
    if _scopes(consent) != {"patient-privacy"}:
        found.append(_item("Consent.scope"))
    provision = consent.get("provision")
    if not isinstance(provision, dict) or provision.get("type") not in ("permit", "deny"):
        found.append(_item("Consent.provision.type"))
        return found
    found += [_item(f"Consent.provision.{name}") for name in provision if name not in _RULE]
    found += [
        _item(f"Consent.provision.actor[{n}]")
        for n, actor in enumerate(provision.get("actor", ()))
        if not _is_recipient(actor)
    ]
    found += [
        _item(f"Consent.provision.purpose[{n}]")
        for n, purpose in enumerate(provision.get("purpose", ()))
        if purpose.get("system") != PURPOSE_SYSTEM or not purpose.get("code") or set(purpose) - _CODING
    ]
    period = provision.get("period", {})
    found += [_item(f"Consent.provision.period.{name}") for name in period if name not in ("id", "start", "end")]
    return found


def _is_recipient(actor: Json) -> bool:
    """An organisation that receives, named by its identifier and by nothing that could say otherwise."""
    reference = actor.get("reference")
    if set(actor) - {"id", "role", "reference"} or not isinstance(reference, dict):
        return False
    identifier = reference.get("identifier")
    if set(reference) - {"identifier", "display", "type"} or reference.get("type", "Organization") != "Organization":
        return False
    if not isinstance(identifier, dict) or set(identifier) - {"system", "value", "use", "type"}:
        return False
    role = actor.get("role", {})
    codings = role.get("coding", ())
    receives = bool(codings) and all(
        coding.get("system") in ROLE_SYSTEMS and coding.get("code") in RECIPIENT_ROLES and not set(coding) - _CODING
        for coding in codings
    )
    if set(role) - {"id", "coding", "text"}:
        return False
    return receives and bool(identifier.get("system")) and bool(identifier.get("value"))


def _item(expression: str) -> IssueItem:
    return IssueItem("not-supported", expression, "this node cannot enforce what stands here")


def _period(provision: Json, zone: tzinfo) -> tuple[datetime, datetime]:
    period = provision.get("period")
    if not isinstance(period, dict):
        return BEGINNING, END
    start, end = period.get("start"), period.get("end")
    return (
        moments(start, zone)[0] if isinstance(start, str) else BEGINNING,
        moments(end, zone)[1] if isinstance(end, str) else END,
    )


def moments(text: str, zone: tzinfo) -> tuple[datetime, datetime]:
    """The first moment of a FHIR dateTime and the first one after it: `2026-06` is all of June, in `zone`.

    Raises ValueError when the text is no dateTime; a resource that passed the schema holds none such.
    """
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        raise ValueError("not a FHIR dateTime")
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    first = datetime(int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0))  # noqa: DTZ001
    if hour is not None:
        aware = datetime.fromisoformat(f"{first.isoformat()}{offset.replace('Z', '+00:00')}")
        return _second(_utc(aware) + timedelta(seconds=int(second)), fraction)  # a leap second is the next one's zero
    if day is not None:
        days = 1
    else:
        days = calendar.monthrange(first.year, first.month)[1] if month else 366 if calendar.isleap(first.year) else 365
    after = (
        END if first > END.replace(tzinfo=None) - timedelta(days=days) else _utc_in(first + timedelta(days=days), zone)
    )
    return _utc_in(first, zone), after


def _second(whole: datetime, fraction: str | None) -> tuple[datetime, datetime]:
    """A second, or the part of one that the digits name."""
    if not fraction:
        return whole, whole + timedelta(seconds=1)
    first = whole + timedelta(microseconds=int((fraction + "000000")[:6]))
    return first, first + timedelta(microseconds=10 ** max(0, 6 - len(fraction)))


def _utc_in(moment: datetime, zone: tzinfo) -> datetime:
    return _utc(moment.replace(tzinfo=zone))


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # the first or last hours of the calendar, in a zone that lies beyond it
        return BEGINNING if moment.year == 1 else END

"""create and update of Consent, the one type that a client may write here yet. http://hl7.org/fhir/R4/consent.html

1. Only a client of the custodian's own organisation may, with the scopes `c` (create) or `u` (update; an id that does
   not exist yet needs both): 403 otherwise, whatever it asks for. A granular scope judges what comes, and what stands.
2. The body is a Consent of R4 (400 bytes, 422 schema), and says no more than the gate can enforce (422 at each place).
3. Its patient is a Patient of this node, and stays the same: 422.
4. Write it; in the same transaction her epoch rises and the log is owed `consent.granted`, `.amended` or `.revoked`.
5. Wait until the log has it. It cannot: 503, while the data already denies; a retry waits for the same entry.
6. Answer with where the entry stands.

A consent is known to the log by a handle of 32 bytes that only the holder of the patient's key can make; it stays the
same when she is merged. A revoked one
stays revoked: granting again is another Consent. Source: access chapter §9; ledger chapter §10.
"""

import hmac
import re
import uuid
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from adapter.access import audit, consent
from adapter.access.consent import Rule
from adapter.access.disclose import Ask, Matches
from adapter.access.scopes import Letter
from adapter.api import outcome
from adapter.api.admission import may, within
from adapter.api.body import resource_body
from adapter.api.call import Answer, Call
from adapter.api.conditions import tags
from adapter.api.parameters import check_read_parameters, resource_id
from adapter.api.writing import Became, Done
from adapter.api.written import written
from adapter.errors import BadRequest, Forbidden, IssueItem, NotFound, PreconditionFailed, Unprocessable
from adapter.seal.keyring import OwnerKeys
from adapter.store import outbox, owners, resources
from adapter.store.engine import Hot
from adapter.store.unit import Change, EventParts, Replace, Unit, Written
from adapter.store.writing import commit_unit
from ledger.event import timestamp
from mappings.fhir.codec import decode
from mappings.fhir.invariants import broken
from mappings.fhir.validate import validate

Json = dict[str, Any]

HANDLE_LABEL = b"consent handle\x00"
_PATIENT = re.compile(r"Patient/([A-Za-z0-9\-.]{1,64})")


async def create(call: Call) -> Answer:
    """`POST /fhir/Consent`: a new consent under an id of ours."""
    ask = await _admit(call, "create", "c")
    if call.header(b"if-none-exist") is not None:
        raise PreconditionFailed("conditional create is not supported", issue="not-supported")
    logical_id = str(uuid.UUID(bytes=call.services.entropy(16), version=4))
    resource = await _resource(call) | {"id": logical_id}
    await _check_scope(call, ask, resource, within(call, "Consent", "c"))
    return await _write(call, ask, resource, None, None)


async def update(call: Call) -> Answer:
    """`PUT /fhir/Consent/id`: change a consent, or write one under an id of the client's."""
    logical_id = resource_id(call)
    ask = await _admit(call, "update", "u")
    resource = await _resource(call)
    if resource.get("id") != logical_id:
        raise BadRequest("the body has no id, or another than the address", issue="invalid", expression="Consent.id")
    allowed = within(call, "Consent", "u")
    await _check_scope(call, ask, resource, allowed)
    return await _write(call, ask, resource, call.header(b"if-match"), allowed)


async def _admit(call: Call, interaction: str, letter: Letter) -> Ask:
    """Step 1. A refusal is recorded like every other."""
    check_read_parameters(call.pairs)
    ask = call.ask("access.read", interaction, "Consent", letter, f"Consent.{letter}")
    if not may(call, "Consent", letter):
        await call.services.gate.refuse_scope(ask)
    if not call.actor.own:
        await call.services.gate.refuse_writer(ask)
    return ask


async def _check_scope(call: Call, ask: Ask, resource: Json, allowed: Matches | None) -> None:
    """Step 1, for the body of the client."""
    if allowed is not None and not allowed(resource):
        await call.services.gate.refuse_scope(ask)


async def _resource(call: Call) -> Json:
    """Step 2, the bytes and the schema."""
    resource = await resource_body(call)
    if resource.get("resourceType") != "Consent":
        raise BadRequest("the body is no Consent", issue="invalid", expression="resourceType")
    faults = tuple(fault for fault in validate(resource) if fault.severity == "error") or broken(resource)
    if faults:
        raise outcome.from_faults(faults, Unprocessable, "the consent does not fit FHIR R4")
    return resource


async def _write(call: Call, ask: Ask, resource: Json, if_match: str | None, allowed: Matches | None) -> Answer:
    """Steps 2 to 6."""
    services = call.services
    rule = consent.read(resource, services.zone)
    writing = _Writing(call, ask, resource, rule, _expected(if_match), allowed)
    try:
        unit, created = await services.keyring.retrying(services.store.write, writing.work)  # 3, 4
    except Forbidden:  # what stands is outside of a granular scope
        await services.gate.refuse_scope(ask)
    change = unit.results[0]
    if change is None:
        raise RuntimeError("a replaced consent has a version")
    await services.delivery.deliver_owners({change.owner, *unit.epochs})  # 5
    ref = await services.store.read(lambda conn: outbox.reference(conn, change.rid, change.ver))
    return await _answer(call, change, resource["id"], ref, created=created)  # 6


def _expected(if_match: str | None) -> int | None:
    if if_match is None:
        return None
    found = [int(tag) for tag in tags(if_match) if tag.isascii() and tag.isdigit() and len(tag) < 10]
    if len(found) != 1:
        raise PreconditionFailed("If-Match names no version")
    return found[0]


class _Writing:
    """One unit of work: what stands, what it becomes, and what the log is told of it."""

    def __init__(
        self, call: Call, ask: Ask, resource: Json, rule: Rule, if_match: int | None, allowed: Matches | None
    ) -> None:
        self._call, self._ask, self._resource, self._rule, self._if_match = call, ask, resource, rule, if_match
        self._allowed = allowed
        self._services = call.services
        self._keys = call.services.keyring.organisation()

    def work(self, conn: Connection) -> tuple[Written, bool]:
        """What was written, and whether the consent is a new one. Run again after NeedKeys."""
        owner = self._patient(conn, self._resource)
        if owner is None:
            raise _unprocessable("Consent.patient", "this is no Patient of this node", "not-found")
        stands = resources.current(conn, self._keys, "Consent", self._resource["id"])
        before = self._before(conn, stands, owner)
        if before is None and self._call.method == "PUT" and not self._may_create():
            raise NotFound("there is no such resource here")
        kind = self._kind(before)
        holder = self._services.keyring.owner(self._holder(conn, owner))
        entry = Replace(
            self._resource,
            self._if_match,
            None if kind is None else lambda body, version, epoch, at: self._event(kind, owner, holder, body, version),
        )
        unit = Unit(
            kind="resource.written",
            who=self._call.actor.client_id,
            at=self._call.now,
            entries=(entry,),
            secret={"actor": self._call.actor.client_id},
        )
        return commit_unit(conn, unit, self._services.keyring), stands is None

    def _patient(self, conn: Connection, body: Json) -> int | None:
        """The owner that the patient of a consent is read as, whichever of her names it bears."""
        named = _PATIENT.fullmatch(body["patient"].get("reference", ""))
        kept = resources.current(conn, self._keys, "Patient", named[1]) if named else None
        return None if kept is None or kept.deleted else owners.survivor(Hot(conn), kept.owner)

    def _holder(self, conn: Connection, owner: int) -> int:
        """Whose key makes the handle: it stays the first version's, whoever the patient is merged into."""
        first = resources.version(conn, self._keys, "Consent", self._resource["id"], 1)
        return owner if first is None else first.owner

    def _before(self, conn: Connection, stands: resources.Sealed | None, owner: int) -> Json | None:
        if stands is None or stands.deleted:
            return None
        before = decode(stands.open(self._services.keyring.owner(stands.owner)))
        if self._allowed is not None and not self._allowed(before):
            raise Forbidden("no scope of this token covers the interaction", code="scope")
        if self._patient(conn, before) != owner:
            raise _unprocessable("Consent.patient", "a consent keeps its patient", "business-rule")
        return before

    def _may_create(self) -> bool:
        """An update that creates. Raises Forbidden where a granular scope to create does not cover the body."""
        allowed = within(self._call, "Consent", "c")
        if allowed is not None and not allowed(self._resource):
            raise Forbidden("no scope of this token covers the interaction", code="scope")
        return may(self._call, "Consent", "c")

    def _kind(self, before: Json | None) -> str | None:
        """The log's word for this change (ledger chapter §10): revoked is terminal, and nothing begins revoked."""
        active, was = self._resource["status"] == "active", None if before is None else before["status"]
        if was is None:
            if not active:
                raise _unprocessable("Consent.status", "a consent begins as active", "business-rule")
            return "consent.granted"
        if was == "active":
            return "consent.amended" if active else "consent.revoked"
        if active:
            raise _unprocessable("Consent.status", "a revoked consent stays so: write another", "business-rule")
        return None

    def _event(self, kind: str, owner: int, keys: OwnerKeys, body: bytes, version: int) -> EventParts:
        """The facts of the entry; its detail holds the Consent's bytes, from which a restore replays."""
        handle = hmac.digest(keys.commitment, HANDLE_LABEL + self._resource["id"].encode(), "sha256").hex()
        secret = {"subject": audit.subject(owner), "handle": handle}
        if kind != "consent.revoked":
            secret |= {
                "scope": audit.digest(body),
                "nb": timestamp(self._rule.start),
                "exp": timestamp(self._rule.end) if self._rule.end < consent.END else audit.NO_END,
            }
        detail = audit.consent_detail(self._ask, secret, self._resource["id"], version, body)
        return EventParts(kind, secret=secret, detail=detail)


def _unprocessable(expression: str, text: str, issue: str) -> Unprocessable:
    return Unprocessable(text, issue=issue, items=(IssueItem(issue, expression, text),))


async def _answer(call: Call, change: Change, logical_id: str, ref: str | None, *, created: bool) -> Answer:
    """Step 6: as every write is answered, and where the entry of the change stands."""
    became: Became = "created" if created else "updated" if change.op else "unchanged"
    answer = await written(call, Done("Consent", logical_id, change.ver, change.at, became))
    return replace(answer, refs=(ref,)) if ref else answer

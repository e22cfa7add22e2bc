"""create, update and delete of Subscription. http://hl7.org/fhir/R4/subscription.html

1. Only a client of the custodian's own organisation may, with the scopes `c`, `u` or `d`: 403 otherwise.
2. The body is a Subscription of R4 that can be served (422 at each place); its status is what a client may ask for.
3. What is changed or deleted passes the gate as a read first: it is the client's own, or as if absent. There is no
   update-as-create: another's id must not be told from a free one.
4. Its endpoint is https, on the client's list, and resolves to public addresses only: 422.
5. Its patient is a Patient of this node that the client may see: hidden and absent are the same 422.
6. Write it: the resource, the row the work goes by, and the handshake that is owed, in one transaction.
7. Wait until the log has it, and answer.

A subscription acts with what its token was good for when it was last written, within what the client's registration
says at the time of each notice. Source: fhir chapter §10; access chapter §1 (allowed notification hosts).
"""

import uuid
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from adapter.access.disclose import Arranged, Ask, Disclosed
from adapter.access.scopes import Letter
from adapter.api import outcome
from adapter.api.body import resource_body
from adapter.api.call import Answer, Call
from adapter.api.conditions import etag, tags
from adapter.api.parameters import check_read_parameters, resource_id
from adapter.api.read import found
from adapter.api.writing import Became, Done
from adapter.api.written import written
from adapter.errors import BadRequest, IssueItem, NotFound, PreconditionFailed, Unprocessable
from adapter.notices.endpoint import NotPublic, listed
from adapter.notices.wanted import Wanted, read
from adapter.seal.keyring import SHARED
from adapter.store import owners, resources
from adapter.store import subscriptions as table
from adapter.store.engine import Hot
from adapter.store.names import Numbers
from adapter.store.subscriptions import ACTIVE, OFF, REQUESTED, Standing
from adapter.store.unit import Change, Delete, Replace, Unit
from adapter.store.writing import commit_unit
from ledger.event import id_bytes, new_id
from mappings.fhir.invariants import broken
from mappings.fhir.validate import validate

Json = dict[str, Any]

TYPE = "Subscription"


async def create(call: Call) -> Answer:
    """`POST /fhir/Subscription`: a new one under an id of ours."""
    await _admit(call, "create", "c")
    if call.header(b"if-none-exist") is not None:
        raise PreconditionFailed("conditional create is not supported", issue="not-supported")
    resource, wanted = await _resource(call)
    logical_id = str(uuid.UUID(bytes=call.services.entropy(16), version=4))
    return await _write(call, _Writing(call, resource | {"id": logical_id}, wanted, 0))


async def update(call: Call) -> Answer:
    """`PUT /fhir/Subscription/id`: change one's own; whatever it was, the handshake comes first again."""
    logical_id = resource_id(call)
    await _admit(call, "update", "u")
    resource, wanted = await _resource(call)
    if resource.get("id") != logical_id:
        raise BadRequest("the body has no id, or another than the address", issue="invalid", expression=f"{TYPE}.id")
    item = await _own(call, "update", "u")
    return await _write(call, _Writing(call, resource, wanted, item.version))


async def delete(call: Call) -> Answer:
    """`DELETE /fhir/Subscription/id`: nothing is sent from then on."""
    logical_id = resource_id(call)
    await _admit(call, "delete", "d")
    item = await _own(call, "delete", "d", again=True)
    if item.op == "d":
        return Answer(204, headers=((b"etag", etag(item.version)),))
    services = call.services

    def work(conn: Connection) -> Change:
        entry = Delete(TYPE, logical_id, item.version)
        (change,) = commit_unit(conn, _unit(call, entry), services.keyring).results
        if change is None:
            raise RuntimeError("a Subscription that stood has a deletion")
        table.became(conn, change.rid, OFF)
        table.forget(conn, change.rid)
        return change

    change = await services.keyring.retrying(services.store.write, work)
    await services.delivery.deliver_owners({SHARED})
    return Answer(204, headers=((b"etag", etag(change.ver)),))


async def _admit(call: Call, interaction: str, letter: Letter) -> None:
    """Step 1. A refusal is recorded like every other."""
    check_read_parameters(call.pairs)
    ask = _ask(call, interaction, letter, f"{TYPE}.{letter}")
    if not call.actor.scopes.judge(TYPE, letter).permitted:
        await call.services.gate.refuse_scope(ask)
    if not call.actor.own:
        await call.services.gate.refuse_writer(ask)


def _ask(call: Call, interaction: str, letter: Letter, thing: str) -> Ask:
    return call.ask("access.read", interaction, TYPE, letter, thing)


async def _resource(call: Call) -> tuple[Json, Wanted]:
    """Step 2."""
    resource = await resource_body(call)
    if resource.get("resourceType") != TYPE:
        raise BadRequest("the body is no Subscription", issue="invalid", expression="resourceType")
    faults = tuple(fault for fault in validate(resource) if fault.severity == "error") or broken(resource)
    if faults:
        raise outcome.from_faults(faults, Unprocessable, "the subscription does not fit FHIR R4")
    wanted = read(resource, call.services.base)
    if resource["status"] not in (REQUESTED, ACTIVE, OFF):
        raise _refused("status", "a client asks for requested or off; the rest is the server's to say", "value")
    if wanted.end is not None and wanted.end <= call.services.ledger.now():
        raise _refused("end", "this is over already", "value")
    told = OFF if resource["status"] == OFF else REQUESTED
    return {name: value for name, value in resource.items() if name != "error"} | {"status": told}, wanted


async def _own(call: Call, interaction: str, letter: Letter, *, again: bool = False) -> Disclosed:
    """Step 3: what stands, as the gate shows it to its own client. Raises NotFound, PreconditionFailed."""
    services, logical_id = call.services, resource_id(call)
    org = services.keyring.organisation()
    ask = _ask(call, interaction, letter, f"{TYPE}/{logical_id}")
    released = await services.gate.disclose(ask, lambda conn: found(resources.current(conn, org, TYPE, logical_id)))
    item = released.items[0]
    if item.op == "d" and not again:
        raise NotFound("there is no such resource here")
    if_match = call.header(b"if-match")
    if if_match is not None and str(item.version) not in tags(if_match):
        raise PreconditionFailed("another version stands than the one expected", code="version")
    return item


@dataclass(slots=True)
class _Writing:
    """One unit of work. `expected` is the version that stands, 0 for a new one."""

    call: Call
    resource: Json = field(repr=False)
    wanted: Wanted
    expected: int

    def work(self, conn: Connection) -> Change:
        """Step 6. Run again after NeedKeys."""
        call, services = self.call, self.call.services
        patient = resources.current(conn, services.keyring.organisation(), "Patient", self.wanted.patient)
        if patient is None or patient.deleted:
            raise no_patient()
        entry = Replace(self.resource, self.expected or None)
        (change,) = commit_unit(conn, _unit(call, entry), services.keyring).results
        if change is None:
            raise RuntimeError("a replaced subscription has a version")
        self._put(conn, change, owners.survivor(Hot(conn), patient.owner))
        return change

    def _put(self, conn: Connection, change: Change, owner: int) -> None:
        actor, org = self.call.actor, self.call.services.keyring.organisation().org
        before = table.standing(conn, org, change.rid)
        scope, purposes, status = str(actor.scopes), " ".join(actor.purposes), self.resource["status"]
        table.put(conn, org, Standing(change.rid, actor.client_id, scope, purposes, owner, self.wanted.topic, status))
        if status == OFF or (before is not None and (before.owner, before.topic) != (owner, self.wanted.topic)):
            table.forget(conn, change.rid)
        if status == REQUESTED:
            numbers = Numbers(Hot(conn))
            at = int(self.call.now.timestamp() * 1000)
            table.shake(conn, org, change.rid, change.ver, at, lambda: (numbers.draw(), self._event_id()))

    def _event_id(self) -> bytes:
        return id_bytes(new_id(self.call.now, self.call.services.entropy))


def _unit(call: Call, entry: Replace | Delete) -> Unit:
    who = call.actor.client_id
    return Unit("resource.written", who, call.now, (entry,), secret={"actor": who})


async def _write(call: Call, writing: _Writing) -> Answer:
    """Steps 4 to 7."""
    services = call.services
    await _check_endpoint(call, writing.wanted)
    await _check_patient(call, writing.wanted)
    change = await services.keyring.retrying(services.store.write, writing.work)
    await services.delivery.deliver_owners({SHARED})
    became: Became = "created" if not writing.expected else "updated" if change.op else "unchanged"
    return await written(call, Done(TYPE, writing.resource["id"], change.ver, change.at, became))


async def _check_endpoint(call: Call, wanted: Wanted) -> None:
    """Step 4."""
    client = call.services.settings.access.client[call.actor.client_id]
    if not listed(wanted.endpoint, client.notify):
        raise _endpoint("the host is not on this client's list of hosts that may be notified")
    try:
        await call.services.endpoints.addresses(wanted.endpoint)
    except NotPublic as exc:
        text = "the host has no address" if exc.reason == "unresolved" else "the host has an address that is not public"
        raise _endpoint(text) from exc


async def _check_patient(call: Call, wanted: Wanted) -> None:
    """Step 5. The entry says that it was asked, and holds no content: none is shown."""
    org = call.services.keyring.organisation()
    ask = call.ask("access.read", "subscription", "Patient", "r", f"Patient/{wanted.patient}")
    try:
        await call.services.gate.disclose(
            ask,
            lambda conn: found(resources.current(conn, org, "Patient", wanted.patient)),
            arrange=lambda shown: Arranged((), total=sum(one.op != "d" for one in shown)),
        )
    except NotFound as exc:
        raise no_patient() from exc


def no_patient() -> Unprocessable:
    return _refused("criteria", "there is no such patient here", "not-found")


def _refused(place: str, text: str, issue: str) -> Unprocessable:
    return Unprocessable(text, code="subscription", issue=issue, items=(IssueItem(issue, f"{TYPE}.{place}", text),))


def _endpoint(text: str) -> Unprocessable:
    items = (IssueItem("business-rule", f"{TYPE}.channel.endpoint", text),)
    return Unprocessable(text, code="endpoint", issue="business-rule", items=items)

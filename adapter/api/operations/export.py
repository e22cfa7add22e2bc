"""$export: a whole population, asynchronously. http://hl7.org/fhir/uv/bulkdata/STU2/export.html

1. `GET` with `Prefer: respond-async`: the job is kept, 202 with `Content-Location`. Every type that it is to hold needs
   the scope `r`; of the whole system (with what belongs to nobody) it is an admin's to ask.
2. `GET /fhir/job/id`: 202 with `X-Progress` while it is made, then 200 with the manifest. It holds no counts: what is
   in a file is decided when it is fetched. Where somebody is left out by then (3), its `error` names a file that says
   so, and not who.
3. `GET /fhir/job/id/n`: a file of one type as ndjson, each resource as it stood when the export was asked for. The gate
   decides every patient again: whose epoch moved since, or who was erased, is left out. One `access.export` event for
   each patient precedes the first byte. `GET /fhir/job/id/left-out`: what the manifest's `error` names.
4. `DELETE /fhir/job/id`: 202; nothing of it is left.

A job is its client's alone: to another it does not exist.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import partial
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection

from adapter.access.disclose import PRIVATE, Ask, Found, combined
from adapter.access.sight import SUBSCRIPTION
from adapter.api.call import Answer, Call, Pairs
from adapter.api.outcome import outcome
from adapter.api.parameters import EVERYWHERE, instant, one, resource_id
from adapter.api.read import found
from adapter.errors import BadRequest, ChartbridgeError, Gone, IssueItem, NotFound, Throttled
from adapter.exporting import LIFE, who_of
from adapter.seal.envelope import NONCE_BYTES
from adapter.seal.keyring import SHARED, NeedKeys
from adapter.store import ahead, exports, owners, resources
from adapter.store.engine import Hot
from adapter.store.exports import DONE, FAILED, Epochs, File, Job, Kept, Level, Part, Segment
from ledger.event import timestamp
from mappings.fhir.codec import Json, decode
from mappings.fhir.schema import schema

NDJSON = "application/fhir+ndjson"
FORMATS = frozenset({NDJSON, "application/ndjson", "ndjson"})
KNOWN = frozenset({"_type", "_since", "_outputFormat"})
ADMIN = "admin"
ID_BYTES = 16
MOST = 4  # jobs of one client that are being made at once
LOOK_AGAIN_S = 1
LEFT_OUT = "left-out"
BATCH = 1_000  # segments looked at in one snapshot, and owners whose keys that takes: far fewer than the keyring holds
_TEXT = "somebody's part is in no file: what she permits changed, or she was erased, since the export was asked for"
_SAID = outcome((IssueItem("incomplete", "", _TEXT, "warning"),), code="export-left-out")
_ID = re.compile(r"[0-9a-f]{32}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,5}")


async def export_patients(call: Call) -> Answer:
    """`GET /fhir/Patient/$export`: all that lies under the key of a patient."""
    return await _begin(call, "patient", None)


async def export_system(call: Call) -> Answer:
    """`GET /fhir/$export`: everything."""
    if ADMIN not in call.actor.roles:
        await call.services.gate.refuse_scope(_ask(call, "Patient", "$export"))
    return await _begin(call, "system", None)


async def export_group(call: Call) -> Answer:
    """`GET /fhir/Group/id/$export`: the same, of its active members."""
    logical_id, org = resource_id(call), call.services.keyring.organisation()
    _check(call)
    released = await call.services.gate.disclose(
        call.ask("access.read", "export", "Group", "r", f"Group/{logical_id}"),
        lambda conn: found(resources.current(conn, org, "Group", logical_id)),
    )
    if released.items[0].op == "d":
        raise Gone("this resource was deleted", code="deleted")
    names = _members(decode(released.items[0].body))
    members = await call.services.store.read(lambda conn: _owners(conn, call, names))
    return await _begin(call, "group", members)


def _members(group: Json) -> list[str]:
    references = [
        one.get("entity", {}).get("reference", "") for one in group.get("member", ()) if not one.get("inactive")
    ]
    return [text.removeprefix("Patient/") for text in references if text.startswith("Patient/")]


def _owners(conn: Connection, call: Call, names: Sequence[str]) -> tuple[int, ...]:
    org = call.services.keyring.organisation()
    patients = [resources.current(conn, org, "Patient", name) for name in names]
    every = {owner for one in patients if one for owner in owners.read_as_one(conn, org.org, one.owner)}
    return tuple(sorted(every))


# --- 1 kick-off -------------------------------------------------------------------------------------------------------


async def _begin(call: Call, level: Level, members: tuple[int, ...] | None) -> Answer:
    services, query = call.services, _check(call)
    types = await _types(call, query)
    since = one(query, "_since")
    keys, job_id = services.keyring.owner(SHARED), services.entropy(ID_BYTES)
    at = int(call.now.timestamp() * 1000)

    def work(conn: Connection) -> None:
        mine = [
            exports.find(conn, keys, services.keyring.org, each) for each in exports.running(conn, services.keyring.org)
        ]
        if sum(1 for kept in mine if kept and kept.job.who.client == call.actor.client_id) >= MOST:
            raise Throttled(f"{MOST} exports of this client are being made", code="export-busy")
        total = len(members) if members is not None else exports.count_owners(conn, services.keyring.org)
        job = Job(
            who_of(call.actor), _request(call), level, types, instant(since) if since else 0, Hot(conn).settled(), at,
            members, total,
        )  # fmt: skip
        exports.begin(conn, keys, services.keyring.org, job_id, job, services.entropy(NONCE_BYTES))

    await services.store.write(work)
    services.exports.wake()
    return Answer(202, headers=((b"content-location", f"{services.base}/job/{job_id.hex()}".encode()),))


def _check(call: Call) -> Pairs:
    """The parameters. Raises BadRequest for what is not served, unless the client can do without it."""
    prefer = (call.header(b"prefer") or "").replace(" ", "").lower().replace(";", ",").split(",")
    if "respond-async" not in prefer:
        raise BadRequest(
            "an export is asked for with Prefer: respond-async", code="export-async", issue="not-supported"
        )
    query = tuple(pair for pair in call.pairs if pair[0] not in EVERYWHERE)
    if any(name not in KNOWN for name, _ in query) and "handling=lenient" not in prefer:
        raise BadRequest("a parameter is not known here", code="parameter", issue="not-supported")
    form = one(query, "_outputFormat")
    if form is not None and form.replace(" ", "+") not in FORMATS:
        raise BadRequest(f"an export is {NDJSON}", code="parameter", issue="not-supported")
    return query


async def _types(call: Call, query: Pairs) -> tuple[str, ...]:
    """What the export holds: the types asked for, each with its scope, or all that the scopes cover."""
    every = schema().resource_types
    named = {kind.strip() for name, value in query if name == "_type" for kind in value.split(",")}
    if not named <= every:
        raise BadRequest("_type names no resource type of R4", code="parameter", issue="value")
    scopes = call.actor.scopes
    covered = {kind for kind in named or every if scopes.judge(kind, "r").permitted}
    if not covered or named - covered:
        await call.services.gate.refuse_scope(_ask(call, "Patient", "$export"))
    hidden = {SUBSCRIPTION} | (frozenset() if call.actor.own else PRIVATE)  # a Subscription is one client's alone
    return tuple(sorted(covered - hidden))


def _request(call: Call) -> str:
    query = f"?{call.raw_query}" if call.raw_query else ""
    return call.services.base + call.path.removeprefix("/fhir") + query


def _ask(call: Call, kind: str, thing: str) -> Ask:
    return call.ask("access.export", "export", kind, "r", thing)


# --- 2 status and manifest --------------------------------------------------------------------------------------------


async def job_status(call: Call) -> Answer:
    """`GET /fhir/job/id`."""
    kept = await _kept(call)
    job = kept.job
    if kept.state == FAILED:
        raise ChartbridgeError("the export failed", code="export-failed")
    if kept.state != DONE:
        call.services.exports.wake()
        percent = min(99, 100 * job.done // max(1, job.total))
        progress = (b"x-progress", f"{percent} %".encode()), (b"retry-after", b"%d" % LOOK_AGAIN_S)
        return Answer(202, headers=progress)
    at = datetime.fromtimestamp(job.at / 1000, UTC)
    place = f"{call.services.base}/job/{kept.id.hex()}"
    errors = [{"type": "OperationOutcome", "url": f"{place}/{LEFT_OUT}"}] if await _leaves_out(call, kept) else []
    manifest = {
        "transactionTime": timestamp(at),
        "request": job.request,
        "requiresAccessToken": True,
        "output": [{"type": file.type, "url": f"{place}/{number}"} for number, file in enumerate(job.files)],
        "error": errors,
    }
    expires = (b"expires", format_datetime(at + LIFE, usegmt=True).encode())
    return Answer(200, msgspec.json.encode(manifest), (expires,), "application/json")


async def cancel_job(call: Call) -> Answer:
    """`DELETE /fhir/job/id`."""
    kept = await _kept(call)
    org = call.services.keyring.org
    await call.services.store.write(lambda conn: exports.drop(conn, org, kept.id))
    return Answer(202)


async def _kept(call: Call) -> Kept:
    """The job of this client. Raises NotFound for another's, as for none."""
    keyring, text = call.services.keyring, call.params["id"]
    keys = keyring.owner(SHARED)
    found_ = None
    if _ID.fullmatch(text):
        found_ = await call.services.store.read(lambda conn: exports.find(conn, keys, keyring.org, bytes.fromhex(text)))
    too_old = call.now.timestamp() * 1000 - LIFE.total_seconds() * 1000
    if found_ is None or found_.job.who.client != call.actor.client_id or found_.job.at < too_old:
        raise NotFound("there is no such job")
    return found_


# --- 3 files ----------------------------------------------------------------------------------------------------------


async def job_file(call: Call) -> Answer:
    """`GET /fhir/job/id/n`."""
    kept, text = await _kept(call), call.params["file"]
    if text == LEFT_OUT and kept.state == DONE:
        said = _SAID + b"\n" if await _leaves_out(call, kept) else b""
        return Answer(200, said, media_type=NDJSON, released=combined(()))
    if kept.state != DONE or not _NUMBER.fullmatch(text) or int(text) >= len(kept.job.files):
        raise NotFound("there is no such file")
    file = kept.job.files[int(text)]
    shares = await _shares(call, kept, file)
    try:
        released = await call.services.gate.disclose(
            _ask(call, file.type, f"job/{kept.id.hex()}/{text}"), lambda conn: _find(conn, call, kept, shares)
        )
    except NotFound:  # all of its patients have left: that is told like a file of one patient less
        return Answer(200, media_type=NDJSON)
    return Answer(200, b"".join(item.body + b"\n" for item in released.items), media_type=NDJSON, released=released)


class _Share(NamedTuple):
    """One owner's share of a file."""

    owner: int
    epochs: Epochs
    rids: tuple[int, ...]


def _find(conn: Connection, call: Call, kept: Kept, shares: Sequence[_Share]) -> Found:
    """The versions in a file, of those whose epoch has not moved. In the gate's snapshot, whatever was seen before."""
    keyring = call.services.keyring
    with ahead.keeping(conn):
        owners.look_ahead(conn, keyring.org, (one.owner for one in shares))
        rids = [rid for one in shares if exports.stands(conn, keyring.org, one.owner, one.epochs) for rid in one.rids]
        return Found(tuple(exports.versions(conn, keyring.organisation(), rids, kept.job)))


async def _shares(call: Call, kept: Kept, file: File) -> list[_Share]:
    """What a file's segments hold of its type. A rare type has a few resources in very many segments."""
    services = call.services

    def work(conn: Connection, numbers: range) -> list[_Share]:
        with ahead.keeping(conn):
            found = exports.segments(conn, services.keyring.org, kept.id, numbers)
        every = [(owner, segment.epochs, segment.rids.get(file.type, ())) for owner, segment in _opened(call, found)]
        return [_Share(*one) for one in every if one[2]]

    shares: list[_Share] = []
    for numbers in _batches(range(file.first, file.last + 1)):
        shares += await services.keyring.retrying(services.store.read, partial(work, numbers=numbers))
    return shares


async def _leaves_out(call: Call, kept: Kept) -> bool:
    """Whether a part that was made is in no file by now: looked for until one is found."""
    services, org = call.services, call.services.keyring.org

    def work(conn: Connection, numbers: range) -> bool:
        with ahead.keeping(conn):
            found = exports.segments(conn, org, kept.id, numbers, sealed=False)
            noted = [(one.owner, one.noted) for one in found if one.noted is not None]
            if len(found) < len(numbers) or not all(exports.stands(conn, org, *one) for one in noted):
                return True
            rest = _opened(call, [one for one in found if one.noted is None])
            return not all(exports.stands(conn, org, owner, segment.epochs) for owner, segment in rest)

    for numbers in _batches(range(kept.job.segments)):
        if await services.keyring.retrying(services.store.read, partial(work, numbers=numbers)):
            return True
    return False


def _batches(numbers: range) -> Iterator[range]:
    return (numbers[start : start + BATCH] for start in range(0, len(numbers), BATCH))


def _opened(call: Call, found: Sequence[Part]) -> list[tuple[int, Segment]]:
    """Segments with their owners. Raises NeedKeys for all at once."""
    keyring = call.services.keyring
    if missing := keyring.missing({one.owner for one in found}):
        raise NeedKeys(missing)
    return [
        (one.owner, exports.opened(keyring.owner(one.owner), keyring.org, one.id, one.payload))
        for one in found
        if one.payload is not None
    ]

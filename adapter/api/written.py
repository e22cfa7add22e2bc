"""What a write answers: status, `ETag`, `Last-Modified`, `Location`, and the body that the client prefers.

A body is the version that was written, and passes the gate as a read: whoever may write and not read it gets the
headers alone. An OperationOutcome says what was done and holds nobody's data.
http://hl7.org/fhir/R4/http.html#ops
"""

from adapter.access.disclose import Released, combined
from adapter.api.admission import may
from adapter.api.call import Answer, Call, Header
from adapter.api.conditions import etag, last_modified
from adapter.api.outcome import outcome
from adapter.api.prefer import Return, returned
from adapter.api.read import found
from adapter.api.writing import Done
from adapter.errors import Forbidden, IssueItem, NotFound
from adapter.store import resources

STATUS = {"created": 201, "updated": 200, "unchanged": 200, "matched": 200, "deleted": 204}
TEXT = {
    "created": "the resource was created",
    "updated": "the resource was updated",
    "unchanged": "the content was the same: nothing was written",
    "matched": "the criteria match this resource: nothing was written",
}


async def written(call: Call, done: Done) -> Answer:
    """The answer to one write."""
    status, headers = STATUS[done.became], headers_of(call, done)
    if done.became == "deleted":
        return Answer(status, headers=headers)
    want = returned(call.header(b"prefer"))
    if want == "OperationOutcome":
        return Answer(status, told(done), headers, released=combined(()))
    released = await shown(call, done, want)
    if released is None:
        return Answer(status, headers=headers)
    return Answer(status, released.items[0].body, headers, released=released)


def headers_of(call: Call, done: Done) -> tuple[Header, ...]:
    headers: tuple[Header, ...] = (b"etag", etag(done.version)), (b"last-modified", last_modified(done.at))
    if done.became in ("created", "matched"):
        return (*headers, (b"location", location(call, done).encode()))
    return headers


def location(call: Call, done: Done) -> str:
    return f"{call.services.base}/{done.type}/{done.id}/_history/{done.version}"


def told(done: Done) -> bytes:
    """An OperationOutcome that says what was done."""
    return outcome((IssueItem("informational", "", TEXT[done.became], "information"),), code="done")


async def shown(call: Call, done: Done, want: Return = "representation") -> Released | None:
    """The version that was written, where the client wants it and may read it."""
    if want != "representation" or not may(call, done.type, "r"):
        return None
    ask = call.ask("access.read", "read", done.type, "r", f"{done.type}/{done.id}")
    org = call.services.keyring.organisation()
    try:
        return await call.services.gate.disclose(
            ask, lambda conn: found(resources.version(conn, org, done.type, done.id, done.version))
        )
    except (NotFound, Forbidden):  # may write it and not read it
        return None

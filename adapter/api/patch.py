"""patch: `PATCH /fhir/Type/id` with a JSON Patch, or with an object that is merged.
http://hl7.org/fhir/R4/http.html#patch

What stands passes the gate first, as a read of its current version: what is hidden answers like what is absent, and
nothing is written. The patch is applied to the version that was shown, and the result is written only where that one
still stands; where another came between, all of it is done again. A result that is no valid resource, or is another
resource, is 422; one that says the same as before is 200 and no version. Source: fhir chapter §7, §12.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from adapter.access.disclose import Disclosed
from adapter.api.admission import admit, check_writable, within
from adapter.api.call import Answer, Call
from adapter.api.conditions import tags
from adapter.api.content import JSON_PATCH, patch_type
from adapter.api.delete import TRIES, contended, current
from adapter.api.encoding import BESIDE_BYTES
from adapter.api.parameters import check_read_parameters, resource_id, resource_type
from adapter.api.writing import Wish, check, write
from adapter.api.written import written
from adapter.errors import (
    BadRequest,
    ChartbridgeError,
    Forbidden,
    Gone,
    IssueItem,
    PreconditionFailed,
    TooLarge,
    Unprocessable,
)
from mappings.fhir.codec import RESOURCE, BytesError, Json, check_bytes, decode, encode
from mappings.fhir.patch import (
    PatchError,
    PatchMissed,
    PatchTestFailed,
    PatchTooLarge,
    applied,
    merged,
    operations,
)

Change = Callable[[Json], Any]


async def patch(call: Call) -> Answer:
    """Change what the client was shown, and nothing that came since."""
    kind, logical_id = resource_type(call), resource_id(call)
    check_writable(kind)
    check_read_parameters(call.pairs)
    ask = await admit(call, kind, "patch", ("r", "u"))
    change = await change_of(call)
    allowed = within(call, kind, "u")
    reading = call.ask("access.read", "patch", kind, "r", f"{kind}/{logical_id}")
    for _ in range(TRIES):
        item = await current(call, reading, logical_id)
        if item.op == "d":
            raise Gone("this resource was deleted", code="deleted")
        resource = await asyncio.to_thread(_checked, item, change)
        if allowed is not None and not allowed(resource):
            await call.services.gate.refuse_scope(ask)
        shown = tags(str(item.version))
        wish = Wish("update", kind, logical_id, resource, if_match=shown, may_create=False, within=allowed)
        try:
            (done,) = await write(call.services, call.actor.client_id, call.now, (wish,))
        except PreconditionFailed:  # somebody wrote in between: look again
            continue
        except Forbidden:  # what stands is outside of a granular scope
            await call.services.gate.refuse_scope(ask)
        return await written(call, done)
    raise contended()


async def change_of(call: Call) -> Change:
    """What the body wants done. Raises UnsupportedMedia (415), BadRequest, TooLarge."""
    named = patch_type(call.header(b"content-type"))
    data = await call.body(RESOURCE.max_bytes)
    read = _operations if named == JSON_PATCH else _merge
    return read(data) if len(data) < BESIDE_BYTES else await asyncio.to_thread(read, data)


def _operations(data: bytes) -> Change:
    try:
        found = operations(data)
    except PatchError as error:
        raise refused(error) from error
    return lambda resource: applied(resource, found)


def _merge(data: bytes) -> Change:
    found = check_bytes(data)
    return lambda resource: merged(resource, found)


def _checked(item: Disclosed, change: Change) -> Json:
    """The resource as the patch makes it, without a fault."""
    resource = changed(item, change)
    check(resource)
    return resource


def changed(item: Disclosed, change: Change) -> Json:
    """The resource as the patch makes it, still the same resource. Whether it fits R4 is for the caller to check."""
    try:
        resource = change(decode(item.body))
        data = encode(resource)
        if len(data) > RESOURCE.max_bytes:
            raise TooLarge(f"the patch makes the resource longer than {RESOURCE.max_bytes} bytes")
        resource = check_bytes(data)
    except PatchError as error:
        raise refused(error) from error
    except BytesError as error:
        text = "the patch makes what cannot be stored"
        items = tuple(IssueItem(one.code, item.type, one.text) for one in error.faults)
        raise Unprocessable(text, code="patch-result", items=items) from error
    for name, stands in (("resourceType", item.type), ("id", item.id)):
        if resource.get(name) != stands:
            text = "a patch does not change which resource it is"
            raise Unprocessable(text, code="patch-result", expression=f"{item.type}.{name}")
    return resource


def refused(error: PatchError) -> ChartbridgeError:
    """A patch that cannot be done, as an error of ours."""
    text = str(error)
    if isinstance(error, PatchTestFailed):
        return Unprocessable(text, code="patch-test", issue="conflict", expression=error.expression)
    if isinstance(error, PatchMissed):
        return Unprocessable(text, code="patch-path", issue="not-found", expression=error.expression)
    if isinstance(error, PatchTooLarge):
        return TooLarge(text)
    return BadRequest(text, code="patch")

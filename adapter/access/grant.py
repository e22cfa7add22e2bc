"""What a token may say: the registration of a client, narrowed by what was asked for.

Source: access chapter §2, steps 7 and 8: scopes are asked for within the registered ones, purposes too.
"""

from adapter.access.scopes import intersect, parse
from adapter.access.token import Grant
from adapter.errors import BadRequest, NotFound
from adapter.settings import Access


def grant(access: Access, client_id: str, scope: str = "", purposes: tuple[str, ...] = ()) -> Grant:
    """The grant for one client. Raises NotFound (no such client), BadRequest (nothing left, a purpose too many)."""
    client = access.client.get(client_id)
    if client is None:
        raise NotFound(f"no client {client_id} is registered", hint="add an [access.client.ID] table")
    registered = parse(client.scopes)
    granted = intersect(parse(scope), registered) if scope else registered
    if not granted:
        raise BadRequest("none of these scopes is registered for the client", hint="see access.client.ID.scopes")
    if not set(purposes) <= set(client.purposes):
        raise BadRequest("a purpose of use is not registered for the client", hint="see access.client.ID.purposes")
    return Grant(
        client_id=client_id,
        system=client.system,
        identifier=client.identifier,
        scope=" ".join(map(str, granted)),
        purposes=purposes or client.purposes[:1],
        roles=client.roles,
    )

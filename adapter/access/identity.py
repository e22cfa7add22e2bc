"""Who is asking: a bearer token becomes an `Actor`, once, and is never widened afterwards.

A client is an `[access.client.ID]` table: its organisation, roles, scopes, purposes and, for a sender over HTTP, its
feed. The token says what of this it may use now; what the table no longer holds is gone from the next check on,
whatever the token says. Signature and lifetime are `token.py`'s, the scope grammar is `scopes.py`'s.

Source: access chapter §1, §3; RFC 6750 (bearer tokens), RFC 9068 (at+jwt).
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from adapter.access.scopes import Scopes, intersect, parse
from adapter.access.token import Claims, Tokens
from adapter.errors import Unauthorised

CACHE_S = 60  # a verified token is believed this long without another look at its signature (access chapter §3)
CACHE_SIZE = 4096  # tokens kept; a flood of distinct ones pushes out the oldest
MAX_TOKEN_CHARS = 8192  # longer than any token of ours; bounds what a stranger makes us hash and parse


@dataclass(frozen=True, slots=True)
class Organisation:
    """An organisation by its identifier, which a consent can name without holding a resource of it."""

    system: str
    value: str


class Registration(Protocol):
    """What an `[access.client.ID]` table says (`adapter/settings.py`)."""

    @property
    def system(self) -> str: ...
    @property
    def identifier(self) -> str: ...
    @property
    def roles(self) -> tuple[str, ...]: ...
    @property
    def scopes(self) -> str: ...
    @property
    def purposes(self) -> tuple[str, ...]: ...
    @property
    def feed(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Actor:
    """One asking party. `own` says that its organisation is the custodian of this node's data."""

    client_id: str
    organisation: Organisation
    own: bool
    roles: frozenset[str]
    scopes: Scopes
    purposes: tuple[str, ...]
    feed: str
    jti: str
    address: str


@dataclass(frozen=True, slots=True)
class _Believed:
    actor: Actor
    until: float


class Identities:
    """Turns `Authorization` headers into actors, with a small cache of tokens whose signature was seen to hold."""

    def __init__(self, tokens: Tokens, clients: Mapping[str, Registration], own: Organisation) -> None:
        self._tokens = tokens
        self._clients = clients
        self._own = own
        self._believed: OrderedDict[tuple[bytes, str], _Believed] = OrderedDict()

    def actor(self, authorization: str | None, address: str) -> Actor:
        """The actor behind the header. Raises Unauthorised; what exactly was wrong with a token is not told."""
        token = bearer(authorization)
        now = self._tokens.now()
        key = (hashlib.sha256(token.encode("ascii")).digest(), address)
        known = self._believed.get(key)
        if known is not None and now < known.until:
            return known.actor
        claims = self._tokens.check(token)
        actor = self._actor(claims, address)
        self._believe(key, _Believed(actor, min(claims.expires, now + CACHE_S)))
        return actor

    def standing(self, client_id: str, scope: str, purposes: str) -> Actor | None:
        """A client as its subscription acts: what its token allowed then, and its registration allows now; None where
        nothing is left of either."""
        client = self._clients.get(client_id)
        kept = tuple(one for one in purposes.split() if client is not None and one in client.purposes)
        if client is None or not kept:
            return None
        organisation = Organisation(client.system, client.identifier)
        return Actor(
            client_id=client_id,
            organisation=organisation,
            own=organisation == self._own,
            roles=frozenset(client.roles),
            scopes=Scopes(intersect(parse(scope), parse(client.scopes))),
            purposes=kept,
            feed=client.feed,
            jti="",
            address="",
        )

    def _actor(self, claims: Claims, address: str) -> Actor:
        client = self._clients.get(claims.client_id)
        if client is None or (client.system, client.identifier) != claims.organisation:
            raise invalid_token()
        purposes = tuple(purpose for purpose in claims.purposes if purpose in client.purposes)
        if not purposes:
            raise invalid_token()
        organisation = Organisation(client.system, client.identifier)
        return Actor(
            client_id=claims.client_id,
            organisation=organisation,
            own=organisation == self._own,
            roles=frozenset(client.roles) & frozenset(claims.roles),
            scopes=Scopes(intersect(parse(claims.scope), parse(client.scopes))),
            purposes=purposes,
            feed=client.feed,
            jti=claims.jti,
            address=address,
        )

    def _believe(self, key: tuple[bytes, str], believed: _Believed) -> None:
        self._believed[key] = believed
        self._believed.move_to_end(key)
        while len(self._believed) > CACHE_SIZE:
            self._believed.popitem(last=False)


def bearer(authorization: str | None) -> str:
    """The token of an `Authorization: Bearer` header (RFC 6750 §2.1)."""
    if not authorization:
        raise Unauthorised("a bearer token is required", code="token-missing")
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN_CHARS or not token.isascii():
        raise invalid_token()
    return token


def invalid_token() -> Unauthorised:
    """One answer for every fault of a token: which check failed is no business of a stranger's."""
    return Unauthorised("the bearer token is not valid here", code="token-invalid")

"""Access tokens: issue and check `at+jwt`, signed ES256 with the node's token key.

`issue` serves `chartbridge token issue`; the token endpoint for outside clients builds on the same function.
`Tokens.check` verifies signature, issuer, audience and lifetime; what the client may do with it is `identity.py`'s.
What a consent leaves over is decided at each read and never written into a token, where a holder would see the gap.

Source: RFC 9068 (JWT profile for access tokens), RFC 7518 §3.4 (ES256), access chapter §3.
"""

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from adapter.errors import ConfigurationError, Unauthorised, UsageError

ALGORITHM = "ES256"
TYPE = "at+jwt"  # RFC 9068 §2.1
CURVE = "P-256"
MAX_LIFE_S = 3600  # no token lives longer, ours or another issuer's (access chapter §3)
AHEAD_S = 30  # clocks differ: `iat` may lie this far in the future
CURSOR_INFO = b"chartbridge cursor v1"

Clock = Callable[[], datetime]
Entropy = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says."""

    client_id: str
    organisation: tuple[str, str]
    scope: str
    purposes: tuple[str, ...]
    roles: tuple[str, ...]
    jti: str
    expires: float


@dataclass(frozen=True, slots=True)
class TokenKey:
    """The node's ES256 key. Its repr shows nothing of it."""

    key: ECKey

    def __repr__(self) -> str:
        return "TokenKey(…)"

    def cursor_key(self) -> bytes:
        """AES-256 key of the paging cursors, derived so that one file holds both (ARCHITECTURE §6)."""
        private = self.key.private_key
        if private is None:
            raise RuntimeError("a token key is a private key")
        number = private.private_numbers().private_value
        return HKDF(hashes.SHA256(), 32, salt=None, info=CURSOR_INFO).derive(number.to_bytes(32, "big"))


def generate() -> bytes:
    """A new token key as PEM (PKCS #8), for a file of mode 0600."""
    return ECKey.generate_key(CURVE).as_pem(private=True)


def read_key(pem: bytes) -> TokenKey:
    """The key in a PEM file's bytes. Raises ConfigurationError when it is no P-256 private key."""
    try:
        key = ECKey.import_key(pem)
    except (JoseError, ValueError) as exc:
        raise ConfigurationError("the token key is not a PEM private key") from exc
    if key.curve_name != CURVE or not key.is_private:
        raise ConfigurationError("the token key is not a P-256 private key")
    return TokenKey(key)


def load(path: Path) -> TokenKey:
    """Read the key file. Raises ConfigurationError when it is missing, unreadable or open to others."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        pem = path.read_bytes()
    except OSError as exc:
        raise ConfigurationError("the token key file cannot be read", hint="chartbridge doctor") from exc
    if os.name == "posix" and mode & 0o077:
        raise ConfigurationError(f"the token key file has mode {mode:04o}, expected 0600", hint="chmod 600 the file")
    return read_key(pem)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a new token shall say; the caller has checked it against the client's registration."""

    client_id: str
    system: str
    identifier: str
    scope: str
    purposes: Sequence[str]
    roles: Sequence[str] = ()


def issue(key: TokenKey, grant: Grant, *, audience: str, life_s: int, now: datetime, entropy: Entropy) -> str:
    """A signed access token for one client, valid from `now` for `life_s` seconds."""
    if not 1 <= life_s <= MAX_LIFE_S:
        raise UsageError(f"a token lives 1 to {MAX_LIFE_S} seconds")
    at = int(now.timestamp())
    claims: dict[str, Any] = {
        "iss": audience,
        "sub": grant.client_id,
        "aud": audience,
        "client_id": grant.client_id,
        "scope": grant.scope,
        "iat": at,
        "exp": at + life_s,
        "jti": entropy(16).hex(),
        "org": {"system": grant.system, "value": grant.identifier},
        "purpose": list(grant.purposes),
        "roles": list(grant.roles),
    }
    return jwt.encode({"alg": ALGORITHM, "typ": TYPE}, claims, key.key)


class Tokens:
    """Checks tokens of one issuer for one audience, this node's FHIR base."""

    def __init__(self, key: TokenKey, audience: str, clock: Clock) -> None:
        self._key = key.key
        self._audience = audience
        self._clock = clock

    def now(self) -> float:
        return self._clock().timestamp()

    def check(self, token: str) -> Claims:
        """Verify signature, type, issuer, audience and lifetime. Raises Unauthorised, the same for every fault."""
        try:
            decoded = jwt.decode(token, self._key, algorithms=[ALGORITHM])
        except (JoseError, ValueError) as exc:
            raise _refused() from exc
        claims = decoded.claims
        if decoded.header.get("typ") != TYPE or claims.get("iss") != self._audience:
            raise _refused()
        if not _addressed(claims.get("aud"), self._audience):
            raise _refused()
        self._check_times(claims)
        return _claims(claims)

    def _check_times(self, claims: dict[str, Any]) -> None:
        now = self.now()
        issued, expires, not_before = (_seconds(claims.get(name, 0)) for name in ("iat", "exp", "nbf"))
        if expires <= now:
            raise Unauthorised("the bearer token has expired", code="token-expired", issue="expired")
        if max(issued, not_before) > now + AHEAD_S or expires - issued > MAX_LIFE_S:
            raise _refused()


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refused()
    return value


def _addressed(audience: object, ours: str) -> bool:
    return audience == ours or (isinstance(audience, list) and ours in audience)


def _claims(claims: dict[str, Any]) -> Claims:
    texts = [claims.get(name) for name in ("client_id", "scope", "jti")]
    organisation = claims.get("org")
    purposes, roles = claims.get("purpose"), claims.get("roles", [])
    if not all(isinstance(text, str) for text in texts) or claims.get("sub") != claims.get("client_id"):
        raise _refused()
    if not isinstance(organisation, dict) or not _texts(purposes) or not _texts(roles):
        raise _refused()
    return Claims(
        client_id=claims["client_id"],
        organisation=(str(organisation.get("system")), str(organisation.get("value"))),
        scope=claims["scope"],
        purposes=tuple(claims["purpose"]),
        roles=tuple(roles),
        jti=claims["jti"],
        expires=float(claims["exp"]),
    )


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _refused() -> Unauthorised:
    return Unauthorised("the bearer token is not valid here", code="token-invalid")

"""Tokens and actors. RFC 9068 §4 (validation), RFC 6750 §3.1; access chapter §3."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from adapter.access import token
from adapter.access.identity import CACHE_S, CACHE_SIZE, Actor, Identities, Organisation, bearer
from adapter.access.token import Grant, Tokens
from adapter.errors import ConfigurationError, Unauthorised, UsageError
from adapter.settings import Client

BASE = "https://node.example/fhir"
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
KEY = token.read_key(token.generate())
OWN = Organisation("urn:oid:2.999.1", "stadtklinik")
WARD = Client(
    system=OWN.system,
    identifier=OWN.value,
    roles=("clinician",),
    scopes="system/*.rs",
    purposes=("TREAT", "HOPERAT"),
)
GRANT = Grant("ward", OWN.system, OWN.value, "system/Observation.rs system/Patient.r", ("TREAT",), ("clinician",))


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


def seeded(count: int) -> bytes:
    return b"\x07" * count


def issued(grant: Grant = GRANT, life_s: int = 300) -> str:
    return token.issue(KEY, grant, audience=BASE, life_s=life_s, now=NOON, entropy=seeded)


def identities(clock: Clock, clients: dict[str, Client] | None = None) -> Identities:
    return Identities(Tokens(KEY, BASE, clock), {"ward": WARD} if clients is None else clients, OWN)


def actor(text: str, clock: Clock | None = None, clients: dict[str, Client] | None = None) -> Actor:
    return identities(clock or Clock(), clients).actor(f"Bearer {text}", "192.0.2.7")


def signed(change: Callable[[dict[str, Any]], object], header: dict[str, Any] | None = None) -> str:
    """A token of ours with its claims changed, signed again with the right key."""
    claims = dict(jwt.decode(issued(), KEY.key, algorithms=["ES256"]).claims)
    change(claims)
    return jwt.encode({"alg": "ES256", "typ": "at+jwt"} | (header or {}), claims, KEY.key)


def test_a_token_becomes_the_actor_that_its_client_is_registered_as() -> None:
    found = actor(issued())
    assert (found.client_id, found.organisation, found.own, found.address) == ("ward", OWN, True, "192.0.2.7")
    assert found.roles == {"clinician"}
    assert found.purposes == ("TREAT",)
    assert str(found.scopes) == "system/Observation.rs system/Patient.r"


def test_a_token_opens_no_more_than_the_registration_of_the_moment() -> None:
    narrowed = WARD.model_copy(update={"scopes": "system/Observation.r", "roles": ()})
    found = actor(issued(), clients={"ward": narrowed})
    assert str(found.scopes) == "system/Observation.r"
    assert found.roles == frozenset()


FAULTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "another issuer": lambda claims: claims.update(iss="https://other.example/fhir"),
    "another audience": lambda claims: claims.update(aud="https://other.example/fhir"),
    "no audience": lambda claims: claims.pop("aud"),
    "issued in the future": lambda claims: claims.update(iat=claims["iat"] + 120, exp=claims["exp"] + 120),
    "not valid yet": lambda claims: claims.update(nbf=claims["iat"] + 120),
    "too long a life": lambda claims: claims.update(exp=claims["iat"] + 3601),
    "no expiry": lambda claims: claims.pop("exp"),
    "an expiry that is true": lambda claims: claims.update(exp=True),
    "an expiry in words": lambda claims: claims.update(exp="tomorrow"),
    "another subject": lambda claims: claims.update(sub="someone"),
    "an unknown client": lambda claims: claims.update(sub="nobody", client_id="nobody"),
    "no client": lambda claims: claims.pop("client_id"),
    "another organisation": lambda claims: claims.update(org={"system": OWN.system, "value": "other"}),
    "no organisation": lambda claims: claims.pop("org"),
    "an unregistered purpose": lambda claims: claims.update(purpose=["HRESCH"]),
    "no purpose": lambda claims: claims.update(purpose=[]),
    "a purpose in one word": lambda claims: claims.update(purpose="TREAT"),
    "roles in one word": lambda claims: claims.update(roles="clinician"),
    "no token id": lambda claims: claims.pop("jti"),
    "no scope": lambda claims: claims.pop("scope"),
}


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_one_fault_is_enough_to_refuse_a_token(fault: str) -> None:
    with pytest.raises(Unauthorised) as refused:
        actor(signed(FAULTS[fault]))
    assert refused.value.code in ("token-invalid", "token-expired")


def test_every_fault_but_age_has_the_same_words() -> None:
    texts = set()
    for fault in FAULTS.values():
        with pytest.raises(Unauthorised) as refused:
            actor(signed(fault))
        texts.add(refused.value.text)
    assert texts <= {"the bearer token is not valid here", "the bearer token has expired"}


def test_a_token_that_names_no_or_another_type_is_refused() -> None:
    for typ in ("JWT", "at+JWT", ""):
        with pytest.raises(Unauthorised):
            actor(signed(lambda claims: None, {"typ": typ}))


def test_an_unsigned_token_is_refused() -> None:
    head = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "at+jwt"}).encode()).rstrip(b"=")
    with pytest.raises(Unauthorised):
        actor(f"{head.decode()}.{issued().split('.')[1]}.")


def test_a_token_signed_with_another_key_is_refused() -> None:
    other = token.TokenKey(ECKey.generate_key("P-256"))
    text = token.issue(other, GRANT, audience=BASE, life_s=300, now=NOON, entropy=seeded)
    with pytest.raises(Unauthorised):
        actor(text)


def test_any_changed_character_of_a_token_is_refused() -> None:
    text = issued()
    for place in range(0, len(text) - 1, 7):
        changed = "A" if text[place] != "A" else "B"
        with pytest.raises(Unauthorised):
            actor(text[:place] + changed + text[place + 1 :])


def test_a_token_is_dead_at_its_expiry_even_when_it_was_believed_a_moment_ago() -> None:
    clock = Clock()
    known = identities(clock)
    header = f"Bearer {issued(life_s=CACHE_S // 2)}"
    assert known.actor(header, "") is known.actor(header, "")
    clock.now = NOON + timedelta(seconds=CACHE_S // 2)
    with pytest.raises(Unauthorised, match="expired"):
        known.actor(header, "")


def test_a_client_struck_from_the_settings_is_out_within_a_minute() -> None:
    clock = Clock()
    clients = {"ward": WARD}
    known = identities(clock, clients)
    header = f"Bearer {issued()}"
    known.actor(header, "")
    del clients["ward"]
    clock.now = NOON + timedelta(seconds=CACHE_S)
    with pytest.raises(Unauthorised):
        known.actor(header, "")


def test_a_flood_of_tokens_does_not_grow_the_cache_without_end() -> None:
    known = identities(Clock())
    found = known.actor(f"Bearer {issued()}", "")
    for number in range(CACHE_SIZE + 10):
        known._believe((str(number).encode(), ""), _believed(found))
    assert len(known._believed) == CACHE_SIZE


def _believed(found: Actor) -> Any:
    from adapter.access.identity import _Believed

    return _Believed(found, NOON.timestamp())


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer ä", "Bearer " + "x" * 9000])
def test_a_header_without_a_token_is_refused(header: str | None) -> None:
    with pytest.raises(Unauthorised):
        bearer(header)


def test_the_scheme_is_read_in_any_case() -> None:
    assert bearer("bEaReR abc") == "abc"


@pytest.mark.parametrize("life_s", [0, -1, 3601])
def test_no_token_is_issued_for_longer_than_an_hour(life_s: int) -> None:
    with pytest.raises(UsageError):
        issued(life_s=life_s)


def test_two_tokens_of_one_moment_have_two_ids() -> None:
    import os

    ids = {
        jwt.decode(token.issue(KEY, GRANT, audience=BASE, life_s=60, now=NOON, entropy=os.urandom), KEY.key).claims[
            "jti"
        ]
        for _ in range(2)
    }
    assert len(ids) == 2


def test_the_key_file_must_be_ours_alone_and_hold_a_p256_key(tmp_path: Path) -> None:
    path = tmp_path / "token"
    with pytest.raises(ConfigurationError):
        token.load(path)
    path.write_bytes(token.generate())
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="0644"):
        token.load(path)
    path.chmod(0o600)
    assert isinstance(token.load(path), token.TokenKey)
    for pem in (b"nonsense", ECKey.generate_key("P-384").as_pem(private=True), KEY.key.as_pem(private=False)):
        with pytest.raises(ConfigurationError):
            token.read_key(pem)


def test_the_key_shows_nothing_of_itself() -> None:
    assert repr(KEY) == "TokenKey(…)"


def test_the_cursor_key_is_derived_and_is_not_the_key() -> None:
    assert KEY.cursor_key() == KEY.cursor_key()
    assert len(KEY.cursor_key()) == 32
    assert KEY.cursor_key() != token.read_key(token.generate()).cursor_key()


def test_a_grant_for_another_organisation_makes_a_foreign_actor() -> None:
    north = WARD.model_copy(update={"identifier": "north"})
    found = actor(issued(replace(GRANT, client_id="north", identifier="north")), clients={"north": north})
    assert not found.own

"""smart-configuration: what the standard requires, and nothing that is not there. SMART App Launch 2.2 §conformance."""

from pathlib import Path

import pytest

from adapter.access.scopes import Scopes, parse
from adapter.api.well_known import PERMISSIONS, smart_configuration
from adapter.settings import Access

TOKEN, AUTHORIZE = "https://id.example/token", "https://id.example/authorize"
ALONE, PEOPLE = Access(token_url=TOKEN), Access(token_url=TOKEN, authorize_url=AUTHORIZE)


@pytest.mark.parametrize("access", [ALONE, PEOPLE], ids=["alone", "people"])
def test_what_the_standard_requires_is_told(access: Access) -> None:
    told = smart_configuration(access)
    assert told["token_endpoint"] == TOKEN
    assert told["grant_types_supported"]
    assert told["capabilities"]
    assert told["code_challenge_methods_supported"] == ["S256"], "and never plain"


def test_the_code_of_people_is_told_where_they_have_an_endpoint() -> None:
    without, told = smart_configuration(ALONE), smart_configuration(PEOPLE)
    assert (told["authorization_endpoint"], told["response_types_supported"]) == (AUTHORIZE, ["code"])
    assert told["grant_types_supported"] == ["client_credentials", "authorization_code"]
    assert without["grant_types_supported"] == ["client_credentials"]
    assert without.keys().isdisjoint({"authorization_endpoint", "response_types_supported"})


def test_every_scope_that_is_told_opens_every_letter_of_every_type() -> None:
    for text in smart_configuration(ALONE)["scopes_supported"]:
        (scope,) = parse(text)
        assert str(scope) == text
        assert all(Scopes((scope,)).judge("Observation", letter).permitted for letter in "cruds")  # type: ignore[arg-type]


def test_each_capability_is_one_that_is_there_and_no_other_is_told() -> None:
    """No launch, no sign-on, no session, and no scope of a patient: tokens of this node carry none of them."""
    told = set(smart_configuration(PEOPLE)["capabilities"])
    assert told == {"permission-v1", "permission-v2"}
    for name in told:
        assert Scopes(parse(PERMISSIONS[name])).judge("Patient", "r").permitted
    assert not Scopes(parse(PERMISSIONS["permission-patient"])).judge("Patient", "r").permitted


def test_an_address_that_is_told_of_this_node_is_one_that_it_has() -> None:
    """Keys, introspection and the like are named when they are served."""
    unserved = {"jwks_uri", "introspection_endpoint", "revocation_endpoint", "registration_endpoint", "issuer"}
    assert unserved.isdisjoint(smart_configuration(PEOPLE))
    table = (Path(__file__).parents[3] / "adapter" / "api" / "routes.py").read_text("utf-8")
    assert not any(word in table for word in ("/oauth/", "jwks"))

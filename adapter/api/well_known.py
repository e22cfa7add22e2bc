"""`GET /fhir/.well-known/smart-configuration`, without a token: where a client gets its tokens, if the site says so.

Without a token endpoint there is no such page (404, with a body), for the standard requires one on it. Every other page
that clients probe for is absent, too, with or without a token.

- The endpoints are the site's, not this node's: by naming `access.token_url` a site says that clients get their tokens
  there by client credentials (SMART Backend Services), by naming `access.authorize_url`, that people permit clients
  there by an authorization code with PKCE. Of PKCE there is S256 alone, which the standard requires to be told, and
  forbids `plain` beside it.
- Scopes and permissions are what `access/scopes.py` reads and opens: each capability is claimed because a scope of its
  kind opens something here, and no other is. There is no launch and no sign-on, so none is claimed.

Source: SMART App Launch 2.2 §conformance ("Metadata"); access chapter §3, §4.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from adapter.access.scopes import LETTERS, OPENING, Scopes, parse
from adapter.api.call import Answer, Call
from adapter.errors import NotFound
from adapter.settings import Access

SMART: Final = "smart-configuration"
JSON: Final = "application/json"
# A capability of SMART, and a scope of the kind that it means.
PERMISSIONS: Final[Mapping[str, str]] = {
    "permission-patient": "patient/Patient.rs",
    "permission-v1": "system/Patient.read",
    "permission-v2": "system/Patient.rs",
}


async def well_known(call: Call) -> Answer:
    """The page, where there is one."""
    access = call.services.settings.access
    if call.params["page"] != SMART or not access.token_url:
        raise NotFound("there is no such page here")
    return Answer(200, msgspec.json.encode(smart_configuration(access)), media_type=JSON)


def smart_configuration(access: Access) -> dict[str, Any]:
    """What a site with a token endpoint tells."""
    told: dict[str, Any] = {
        "token_endpoint": access.token_url,
        "grant_types_supported": ["client_credentials"],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": [f"{context}/*.{LETTERS}" for context in sorted(OPENING)],
        "capabilities": [name for name, scope in PERMISSIONS.items() if opens(scope)],
    }
    if access.authorize_url:
        told["authorization_endpoint"] = access.authorize_url
        told["grant_types_supported"].append("authorization_code")
        told["response_types_supported"] = ["code"]
    return told


def opens(scope: str) -> bool:
    """Whether a scope on Patients opens any."""
    return Scopes(parse(scope)).judge("Patient", "r").permitted

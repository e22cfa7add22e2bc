"""`GET /fhir/.well-known/smart-configuration`, without a token: where a client gets its tokens, if the site says so.

Only what is configured and what we do is named; without a token endpoint there is no such page (404, with a body), for
the standard requires one on it. Every other page that clients probe for is absent, too, with or without a token.
Source: SMART App Launch 2.0 §conformance; access chapter §3, §4.
"""

from typing import Any

import msgspec

from adapter.api.call import Answer, Call
from adapter.errors import NotFound

SMART = "smart-configuration"
JSON = "application/json"


async def well_known(call: Call) -> Answer:
    """The page, where there is one."""
    access = call.services.settings.access
    if call.params["page"] != SMART or not access.token_url:
        raise NotFound("there is no such page here")
    told: dict[str, Any] = {
        "token_endpoint": access.token_url,
        "grant_types_supported": ["client_credentials"],
        "scopes_supported": ["system/*.cruds"],
        "capabilities": ["permission-v2"],
    }
    if access.authorize_url:
        told["authorization_endpoint"] = access.authorize_url
    return Answer(200, msgspec.json.encode(told), media_type=JSON)

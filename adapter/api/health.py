"""`/livez`: the loop turns. `/readyz`: the parts that a request needs answer. Neither says anything of a patient.

Chain and witnesses never fail readiness: care does not wait for them. Source: operations chapter §5.
"""

from adapter.api.call import Answer, Call
from adapter.health import failing, ready

PLAIN_JSON = "application/json"


async def livez(call: Call) -> Answer:
    return Answer(200, b'{"status":"live"}', media_type=PLAIN_JSON)


async def readyz(call: Call) -> Answer:
    """200 when every part answers, else 503 with the names of those that do not."""
    services = call.services
    status, body = ready(await failing(services.store, services.ledger, services.keyring, services.site))
    return Answer(status, body, media_type=PLAIN_JSON)

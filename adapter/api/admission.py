"""Who may write what: scopes, organisation, and types that are written by rules of their own. Before any look-up.

1. The type is written here at all: an AuditEvent is rendered from the log, a Consent and a Subscription have rules
   of their own (405).
2. The token's scopes cover the letters: `c` create, `u` update, `d` delete; a patch needs `r` too, an update of what
   does not exist `c`, a conditional write `s` without a query, and the scopes of `system/` alone. No: 403.
3. The client is of the custodian's organisation; a gateway creates and does nothing else. No: 403.

Conditional writes see all resources of the organisation, permitted or not: otherwise a consent would breed duplicates.
Each refusal is recorded. Source: access chapter §4, §6, §9; fhir chapter §8.
"""

from collections.abc import Sequence

from adapter.access.disclose import Ask, Matches
from adapter.access.scopes import Letter
from adapter.api.call import Call
from adapter.errors import MethodNotAllowed
from mappings.fhir.codec import Json

GATEWAY = "gateway"
RENDERED = frozenset({"AuditEvent"})  # from the log, never written
CONSENT = "Consent"
SUBSCRIPTION = "Subscription"


def check_writable(kind: str) -> None:
    """Step 1. Raises MethodNotAllowed."""
    if kind in RENDERED:
        raise MethodNotAllowed("what this type shows is read from the log", code="read-only")
    if kind == CONSENT:
        raise MethodNotAllowed("a consent is created, amended and revoked, and nothing else", code="read-only")
    if kind == SUBSCRIPTION:
        raise MethodNotAllowed("a subscription is created, updated and deleted by its id alone", code="read-only")


async def admit(
    call: Call, kind: str, interaction: str, letters: Sequence[Letter], *, conditional: bool = False
) -> Ask:
    """Steps 2 and 3, and the asking they were made for. Raises Forbidden."""
    gate, actor = call.services.gate, call.actor
    ask = call.ask("access.read", interaction, kind, letters[0], f"{kind}.{letters[0]}")
    scopes = actor.scopes.of_system() if conditional else actor.scopes
    if not all(scopes.judge(kind, letter).permitted for letter in letters):
        await gate.refuse_scope(ask)
    if conditional and ((found := scopes.judge(kind, "s")).queries or not found.permitted):
        await gate.refuse_scope(ask)
    if not actor.own:
        await gate.refuse_writer(ask)
    if GATEWAY in actor.roles and (conditional or interaction != "create"):
        await gate.refuse_gateway(ask)
    return ask


def may(call: Call, kind: str, letter: Letter) -> bool:
    """Whether a scope covers a letter."""
    return call.actor.scopes.judge(kind, letter).permitted


def within(call: Call, kind: str, letter: Letter) -> Matches | None:
    """The judge of granular scopes (`system/Observation.u?category=laboratory`); None where nothing narrows them."""
    judgement = call.actor.scopes.judge(kind, letter)
    if not judgement.queries:
        return None
    allowed = call.services.house.scope_matchers(kind, judgement.queries, call.now)
    return lambda resource: any(one(resource) for one in allowed)


def may_create(call: Call, resource: Json) -> bool:
    """Whether an update may bring this where nothing stands: a scope with `c` has to cover it, and its query."""
    kind = resource["resourceType"]
    allowed = within(call, kind, "c")
    return may(call, kind, "c") and (allowed is None or allowed(resource))

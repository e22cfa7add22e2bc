"""What `adapter/` raises. Only the edges turn these into an OperationOutcome, an ACK or an exit code.

- ChartbridgeError: `status_hint` (HTTP), `issue` (FHIR issue type), `exit_code`, `hint` (what to do)
    - ConfigurationError: exit 3
    - UsageError: exit 2
    - BadRequest 400 · Unauthorised 401 · Forbidden 403 · NotFound 404 · MethodNotAllowed 405 · NotAcceptable 406
    - Conflict 409 · Gone 410 · PreconditionFailed 412 · TooLarge 413 · UnsupportedMedia 415 · Unprocessable 422
    - Throttled 429
    - Unavailable 503: a dependency is away or the log cannot append; exit 4
        - InDoubt 503: and whether the change took effect cannot be told: look before doing it again
    - IntegrityFault: exit 7; nothing is deleted

No message holds health data, an identifier or a value from a message.
"""

import traceback
from dataclasses import dataclass
from pathlib import Path

# What a fault of our own raises. Caught only where one message or file must not take its neighbours with it, and told
# by `whereabouts`: the text of such an error may hold a value.
OURS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def whereabouts(error: BaseException) -> str:
    """Type and place of an error, as `KeyError at merge.py:71`; never its text."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return type(error).__name__ + place


@dataclass(frozen=True, slots=True)
class IssueItem:
    """One line of an OperationOutcome: FHIR issue type, FHIRPath expression, one sentence without health data.

    `rule` is the key of the constraint that is broken, where it is one.
    """

    issue: str
    expression: str
    text: str
    severity: str = "error"
    rule: str = ""


class ChartbridgeError(Exception):
    """The root. `text` is lower case and says where, expected and got."""

    status_hint = 500
    issue = "exception"
    code = "internal"
    exit_code = 1

    def __init__(
        self,
        text: str,
        *,
        code: str | None = None,
        issue: str | None = None,
        expression: str = "",
        hint: str = "",
        items: tuple[IssueItem, ...] = (),
    ) -> None:
        super().__init__(text)
        self.text = text
        self.code = code or type(self).code
        self.issue = issue or type(self).issue
        self.expression = expression
        self.hint = hint
        self.items = items
        self.entry: int | None = None  # of a unit of several: which one was refused


class ConfigurationError(ChartbridgeError):
    code = "configuration"
    exit_code = 3


class UsageError(ChartbridgeError):
    code = "usage"
    exit_code = 2


class BadRequest(ChartbridgeError):
    status_hint, issue, code = 400, "invalid", "bad-request"


class Unauthorised(ChartbridgeError):
    status_hint, issue, code, exit_code = 401, "login", "unauthorised", 6


class Forbidden(ChartbridgeError):
    status_hint, issue, code, exit_code = 403, "forbidden", "forbidden", 6


class NotFound(ChartbridgeError):
    status_hint, issue, code, exit_code = 404, "not-found", "not-found", 5


class MethodNotAllowed(ChartbridgeError):
    status_hint, issue, code = 405, "not-supported", "method-not-allowed"


class NotAcceptable(ChartbridgeError):
    status_hint, issue, code = 406, "not-supported", "not-acceptable"


class Conflict(ChartbridgeError):
    status_hint, issue, code = 409, "conflict", "conflict"


class Gone(ChartbridgeError):
    status_hint, issue, code = 410, "deleted", "deleted"


class PreconditionFailed(ChartbridgeError):
    status_hint, issue, code = 412, "conflict", "precondition-failed"


class TooLarge(ChartbridgeError):
    status_hint, issue, code = 413, "too-long", "too-large"


class UnsupportedMedia(ChartbridgeError):
    status_hint, issue, code = 415, "not-supported", "unsupported-media"


class Unprocessable(ChartbridgeError):
    status_hint, issue, code = 422, "invalid", "unprocessable"


class Throttled(ChartbridgeError):
    status_hint, issue, code = 429, "throttled", "throttled"


class Unavailable(ChartbridgeError):
    status_hint, issue, code, exit_code = 503, "transient", "unavailable", 4


class InDoubt(Unavailable):
    code = "in-doubt"


class IntegrityFault(ChartbridgeError):
    status_hint, issue, code, exit_code = 503, "exception", "integrity", 7

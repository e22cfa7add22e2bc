"""What both edges do with the bytes of one message: judge, look for its patient, journal, answer.

1. Read the header. What cannot be accepted is refused with its reason and kept as `rejected`.
2. Find the patients and lanes, and the tokens that tell a message sent twice.
3. Hand it to the journal. A sender that the profile does not know is accepted, and marked for quarantine.
4. Once it is durable, build the answer; a duplicate hears what its first reception heard.

Framing and sockets are `mllp.py`'s and `listener.py`'s, requests `http.py`'s. Nothing here waits.
Source: hl7v2 chapter §11; operations chapter §4.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from adapter.crash import crash_point
from adapter.inbound.ack import (
    ACCEPT,
    ERROR,
    REASONS,
    Answer,
    Reason,
    Rules,
    code_for,
    judge,
    refusal,
    render,
    timestamp,
    wanted,
)
from adapter.inbound.bodies import Entropy
from adapter.inbound.feed import Feed
from adapter.inbound.journal import Accepted, Incoming, Journal
from adapter.inbound.journal_table import CONTROL_BYTES, NEW, REJECTED
from adapter.seal.blind import SEPARATOR, Mac, lane
from mappings.errors import MappingError
from mappings.hl7v2.message import Header, digest_without_time, peek

Clock = Callable[[], datetime]
# (keyed ids of the patients, lanes) of a message under a feed's profile; MappingError where it cannot be read that far
Scan = Callable[[bytes, Feed], tuple[tuple[bytes, ...], tuple[int, ...]]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message on its way to the journal, and what its answer will need."""

    incoming: Incoming
    header: Header | None = field(repr=False)
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """An ACK: its code, and whether the sender wants to hear it."""

    code: str
    message: bytes = field(repr=False)
    wanted: bool = True


Replied = Callable[[Reply], None]


class Intake:
    """One feed's way in. `prepare` may run in any thread, it changes nothing; `submit` belongs to the loop."""

    def __init__(
        self,
        feed: Feed,
        rules: Rules,
        journal: Journal,
        scan: Scan,
        locate: Mac,
        clock: Clock,
        entropy: Entropy = os.urandom,
    ) -> None:
        self.feed = feed
        self._rules, self._journal, self._scan, self._locate = rules, journal, scan, locate
        self._clock, self._entropy = clock, entropy
        self._own_lane = lane(locate, feed.name)
        self._second = (0, "")  # the last timestamp made: formatting one costs more than the rest of an answer

    def prepare(self, data: bytes) -> Prepared:
        """Steps 1 and 2."""
        header = peek(data)
        reason = judge(header, data, self._rules)
        if header is None or reason is not None:
            return self._refused(data, header, reason or REASONS["no-header"])
        patients, lanes = self._find(data)
        issues: tuple[str, ...] = () if self._rules.accepts(header) else ("wrong-sender",)
        dedupe = self._tokens(data, header) if header.control_id.strip() else None
        if dedupe is None:
            issues = (*issues, "control-id-missing")
        at = self._clock()
        code = code_for(header, ACCEPT, self._rules)
        incoming = Incoming(
            self.feed.name, at, data, NEW, code, self._time(at), dedupe, patients, lanes or (self._own_lane,), issues
        )
        return Prepared(incoming, header)

    def prepare_oversize(self, head: bytes) -> Prepared:
        """A frame over the limit, of which only the beginning is kept."""
        return self._refused(head, peek(head), REASONS["over-limit"])

    def submit(self, prepared: Prepared, replied: Replied) -> None:
        """Steps 3 and 4: `replied` is called on the loop, when the message is durable or cannot be."""
        crash_point("receive.prepared")

        def told(accepted: Accepted | None) -> None:
            replied(self.unable(prepared.header) if accepted is None else self._reply(prepared, accepted))

        self._journal.submit(prepared.incoming, told)

    def connected(self, change: int) -> None:
        """A connection has opened (1) or ended (-1)."""
        self._journal.senders += change

    def nudge(self) -> None:
        """All that a packet held has been submitted."""
        self._journal.nudge()

    def keep_torn(self, data: bytes) -> None:
        """A torn frame: kept for the record, answered by no one."""
        at = self._clock()
        incoming = Incoming(
            self.feed.name, at, data, REJECTED, "", "", lanes=(self._own_lane,), issues=("torn-frame",)
        )  # fmt: skip
        self._journal.submit(incoming, lambda accepted: None)

    def unable(self, header: Header | None) -> Reply:
        """AE or CE: the message is not kept, the sender is to send it again."""
        code = code_for(header, ERROR, self._rules)
        own = f"CBX{self._entropy(7).hex()}"
        answer = refusal(self.feed.name, code, own, self._time(self._clock()), REASONS["journal-unavailable"])
        return Reply(code, render(header, answer), wanted(header, code))

    def _reply(self, prepared: Prepared, accepted: Accepted) -> Reply:
        answer = Answer.from_stored(accepted.ack)
        if prepared.reason is not None:
            answer = refusal(self.feed.name, answer.code, answer.control_id, answer.time, prepared.reason)
        return Reply(answer.code, render(prepared.header, answer), wanted(prepared.header, answer.code))

    def _refused(self, data: bytes, header: Header | None, reason: Reason) -> Prepared:
        at = self._clock()
        code = code_for(header, reason.letter, self._rules)
        incoming = Incoming(
            self.feed.name, at, data, REJECTED, code, self._time(at), lanes=(self._own_lane,), issues=(reason.issue,)
        )
        return Prepared(incoming, header, reason)

    def _find(self, data: bytes) -> tuple[tuple[bytes, ...], tuple[int, ...]]:
        try:
            return self._scan(data, self.feed)
        except MappingError:
            return (), ()  # its conversion will fail too, and say why

    def _tokens(self, data: bytes, header: Header) -> bytes:
        """The keyed token of the control id, and that of control id and content (MSH-7 blanked)."""
        named = self.feed.name.encode() + SEPARATOR.encode() + header.control_id
        content = named + SEPARATOR.encode() + digest_without_time(data, header)
        return self._locate(b"control" + SEPARATOR.encode() + named)[:CONTROL_BYTES] + self._locate(content)

    def _time(self, at: datetime) -> str:
        second = int(at.timestamp())
        if self._second[0] != second:
            self._second = (second, timestamp(at, self._rules.zone))
        return self._second[1]

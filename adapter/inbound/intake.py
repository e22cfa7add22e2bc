"""What every edge does with the bytes of a message, of several, or of a document: judge, look for patients, journal,
answer.

0. Cut a batch into its messages (`batch.py`). Each goes its own way from here; one answer holds theirs.
1. Read the header. What cannot be accepted is refused with its reason and kept as `rejected`.
2. Find the patients and lanes, and the tokens that tell a message sent twice.
3. Hand it to the journal. A sender that the profile does not know is accepted, and marked for quarantine.
4. Once it is durable, build the answer; a duplicate hears what its first reception heard. Where the profile says
   `ack.after = "mapped"`, the answer of the original mode waits until the message has taken effect, or waits for a
   person; in the enhanced mode a second answer follows then, if MSH-16 asks for it (`Outcomes`).

A CDA document goes the same way: what is no document is refused; its number is ClinicalDocument/id, and what it says
under the number of another is accepted, with an issue. What its sender hears is `documents.py`'s.

Framing and sockets are `mllp.py`'s and `listener.py`'s, requests `http.py`'s, files `folder.py`'s. Nothing here waits.
Source: hl7v2 chapter §11; operations chapter §4.
"""

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Protocol

from adapter.crash import crash_point
from adapter.errors import TooLarge
from adapter.inbound import batch as batches
from adapter.inbound import documents
from adapter.inbound.ack import (
    ACCEPT,
    ALWAYS,
    ERROR,
    NEVER,
    REASONS,
    REJECT,
    Answer,
    Reason,
    Rules,
    application_due,
    code_for,
    judge,
    outcome,
    refusal,
    render,
    timestamp,
    wanted,
)
from adapter.inbound.batch import Batch
from adapter.inbound.bodies import Entropy
from adapter.inbound.documents import UNKNOWN, ReadDocument, Refusal
from adapter.inbound.feed import Feed
from adapter.inbound.journal import Accepted, Incoming, Journal, application_id
from adapter.inbound.journal_table import CONTROL_BYTES, NEW, REJECTED, Part
from adapter.inbound.mllp import HEAD_BYTES
from adapter.seal.blind import SEPARATOR, Mac, lane
from mappings.errors import MappingError
from mappings.hl7v2.errors import UnreadableMessage
from mappings.hl7v2.message import Header, digest_without_time, peek

# Reading the headers and patients of more than this is a thread's work, not the loop's.
LARGE_BYTES, MANY_LINES = 256 * 1024, 2_000
PART_BYTES = 1024  # what each message of a batch takes up beside its bytes, on its way to the journal

Clock = Callable[[], datetime]
# (keyed ids of the patients, lanes) of a message under a feed's profile; MappingError where it cannot be read that far
Scan = Callable[[bytes, Feed], tuple[tuple[bytes, ...], tuple[int, ...]]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message on its way to the journal, and what its answer will need. `refusal` is a document's."""

    incoming: Incoming
    header: Header | None = field(repr=False)
    reason: Reason | None = None
    document: bool = False
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its code, and whether the sender wants to hear it. Of a batch: the worst code, and all of them.

    `kept` is false where the message is not in the journal, and its sender is to send it again.
    """

    code: str
    message: bytes = field(repr=False)
    wanted: bool = True
    codes: tuple[str, ...] = ()
    kept: bool = True

    @property
    def counted(self) -> tuple[str, ...]:
        return self.codes or (self.code,)


@dataclass(frozen=True, slots=True)
class Together:
    """The messages of a batch on their way."""

    batch: Batch
    parts: tuple[Prepared, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a message: a state, and where it waits for a person the reason as the quarantine keeps it."""

    seq: int
    became: str
    issue: str = ""
    place: str = ""
    fingerprint: str = ""


class Outcomes(Protocol):
    """Who knows what becomes of messages (`adapter/replies.py`)."""

    def wait(self, seq: int, told: Callable[[Outcome], bool]) -> None:
        """Call `told` once the message has an outcome; it says whether the sender could be told."""


class NoOutcomes:
    """Where nothing is mapped: whoever waits would wait for ever."""

    def wait(self, seq: int, told: Callable[[Outcome], bool]) -> None:
        raise RuntimeError("an answer waits for an outcome, and nobody knows of any")


Arrival = Prepared | Together
# Hears the answer; False says that its sender has gone.
Replied = Callable[[Reply], object]
# A further message for a sender that may have gone; whether it could be written.
Later = Callable[[bytes], bool]


def is_much(data: bytes) -> bool:
    """Whether to prepare it would hold up the loop: it is long, or a batch of many, or many segments."""
    return len(data) > LARGE_BYTES or data.count(b"\r") + data.count(b"\n") > MANY_LINES


def nowhere(message: bytes) -> bool:
    """The `Later` of an edge that has one answer only."""
    return False


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
        outcomes: Outcomes | None = None,
        read: ReadDocument = lambda data, feed: UNKNOWN,
    ) -> None:
        self.feed = feed
        self._read = read
        self._outcomes = outcomes or NoOutcomes()
        self._rules, self._journal, self._scan, self._locate = rules, journal, scan, locate
        self._clock, self._entropy = clock, entropy
        self._own_lane = lane(locate, feed.name)
        self._second = (0, "")  # the last timestamp made: formatting one costs more than the rest of an answer

    def prepare(self, data: bytes) -> Arrival:
        """Steps 0 to 2."""
        try:
            batch = batches.split(data)
        except TooLarge:
            return self.prepare_oversize(data[:HEAD_BYTES])
        if batch is None:
            return self.prepare_one(data)
        if not batch.parts:
            return self._refused(data, None, REASONS["batch"])
        source, total = self._entropy(16), len(batch.parts)
        places = (Part(source, n, total) for n in range(1, total + 1))
        return Together(batch, tuple(map(self.prepare_part, batch.parts, places)))

    def prepare_part(self, part: batches.Part, place: Part) -> Prepared:
        """Steps 1 and 2 for one message among others."""
        too_long = len(part.data) > self.feed.listen.limits.frame_bytes
        prepared = self.prepare_oversize(part.data[:HEAD_BYTES]) if too_long else self.prepare_one(part.data)
        if not part.miscounted:
            return self.placed(prepared, place)
        issues = (*prepared.incoming.issues, "batch-count")
        return self.placed(replace(prepared, incoming=replace(prepared.incoming, issues=issues)), place)

    def placed(self, prepared: Prepared, place: Part) -> Prepared:
        """The same message, in its place among others."""
        return replace(prepared, incoming=replace(prepared.incoming, part=place))

    def source(self, identity: bytes) -> bytes:
        """A keyed token of one file of this feed."""
        return self._locate(SEPARATOR.join(("file", self.feed.name, "")).encode() + identity)

    def prepare_one(self, data: bytes) -> Prepared:
        """Steps 1 and 2 for one message."""
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
        due = application_due(header, self._rules)
        if code[0] == "A" and due == ALWAYS:
            code = ""  # its only answer follows the outcome
        incoming = Incoming(
            self.feed.name,
            at,
            data,
            NEW,
            code,
            self._time(at),
            dedupe,
            patients,
            lanes or (self._own_lane,),
            issues,
            "" if due == NEVER else due,
        )
        return Prepared(incoming, header)

    def prepare_document(self, data: bytes, *, whole: bool = True) -> Prepared:
        """Steps 1 and 2 for one document. Of one over the limit only the beginning is kept."""
        at, refused = self._clock(), None
        found = UNKNOWN
        if not whole or len(data) > self.document_bytes:
            data, refused = data[:HEAD_BYTES], documents.OVER_LIMIT
        else:
            try:
                found = self._read(data, self.feed)
            except UnreadableMessage as exc:
                refused = documents.refusal(exc)
            except MappingError:
                pass  # of the profile: its conversion will fail too, and say why
        if refused is not None:
            incoming = Incoming(
                self.feed.name, at, data, REJECTED, "A" + REJECT, self._time(at), lanes=(self._own_lane,),
                issues=(refused.code,),
            )  # fmt: skip
            return Prepared(incoming, None, document=True, refusal=refused)
        waits = self._rules.after == "mapped" and not self._rules.reply_to  # there is one answer, and it goes back here
        incoming = Incoming(
            self.feed.name,
            at,
            data,
            NEW,
            "" if waits else "A" + ACCEPT,
            self._time(at),
            self._document_tokens(data, found.id),
            found.patients,
            found.lanes or (self._own_lane,),
            due=ALWAYS if waits else "",
            reused="document-id-reused",
        )
        return Prepared(incoming, None, document=True)

    @property
    def document_bytes(self) -> int:
        """How long a document may be."""
        return min(self._rules.document_bytes, self.feed.listen.limits.frame_bytes)

    def prepare_oversize(self, head: bytes) -> Prepared:
        """A frame over the limit, of which only the beginning is kept."""
        return self._refused(head, peek(head), REASONS["over-limit"])

    def submit(self, arrival: Arrival, replied: Replied, later: Later = nowhere) -> None:
        """Steps 3 and 4: `replied` is called on the loop, when the answer is known; `later` with what follows it."""
        if isinstance(arrival, Together):
            self._submit_together(arrival, replied, later)
        else:
            self._submit_one(arrival, replied, later)

    def _submit_one(self, prepared: Prepared, replied: Replied, later: Later) -> None:
        crash_point("receive.prepared")

        def told(accepted: Accepted | None) -> None:
            if accepted is None:
                replied(self.unable(prepared.header, document=prepared.document))
            else:
                self._accepted(prepared, accepted, replied, later)

        self._journal.submit(prepared.incoming, told)

    def _submit_together(self, together: Together, replied: Replied, later: Later) -> None:
        """One answer, when the last of its messages has one."""
        replies: list[Reply | None] = [None] * len(together.parts)
        left = len(replies)

        def one(n: int, reply: Reply) -> None:
            nonlocal left
            replies[n] = reply
            left -= 1
            if not left:
                replied(self.gathered(together.batch, [each for each in replies if each is not None]))

        for n, prepared in enumerate(together.parts):
            self._submit_one(prepared, partial(one, n), later)

    def gathered(self, batch: Batch, replies: list[Reply]) -> Reply:
        """The one answer to a batch: in its envelopes an answer a message, of those that are wanted."""
        said = [reply.message if reply.wanted else b"" for reply in replies]
        message = batches.reply(batch, said, self._ids(), self._time(self._clock()))
        codes = tuple(reply.code for reply in replies)
        return Reply(max(codes, key=_worse), message, any(said), codes)

    def _ids(self) -> Iterator[str]:
        while True:
            yield f"CBG{self._entropy(7).hex()}"

    def _accepted(self, prepared: Prepared, accepted: Accepted, replied: Replied, later: Later) -> None:
        """Step 4 for a message that is durable."""
        header, seq = prepared.header, accepted.first or accepted.seq
        if accepted.ack or (header is None and not prepared.document):
            replied(self._made(lambda: self._reply(prepared, accepted), prepared))
            if header is not None and len(accepted.ack.split(" ")) > 3 and not self._rules.reply_to:
                self._outcomes.wait(seq, lambda outcome: later(self._applied(prepared, outcome).message))
        elif self._rules.reply_to:
            replied(Reply("AA", b"", wanted=False))
        else:
            self._outcomes.wait(seq, lambda outcome: _told(replied, self._applied(prepared, outcome)))

    def _applied(self, prepared: Prepared, became: Outcome) -> Reply:
        """The application's answer, as the sender reads it."""

        def make() -> Reply:
            answer = self.application(became)
            if prepared.document:
                said = documents.applied(answer.control_id, became.became, became.issue, became.place)
                return Reply(answer.code, said)
            return Reply(answer.code, render(prepared.header, answer))

        return self._made(make, prepared)

    def _made(self, make: Callable[[], Reply], prepared: Prepared) -> Reply:
        """An answer; where a fault of ours keeps it from being made, AE without anything of the message. The message
        is kept, and is a duplicate when it is sent again; without any answer its connection would wait for ever."""
        try:
            return make()
        except Exception as exc:
            fault = {"message": "an answer could not be made", "exception": exc}
            asyncio.get_running_loop().call_exception_handler(fault)
            return self.unable(None, document=prepared.document)

    def application(self, became: Outcome) -> Answer:
        """The application's answer to a message."""
        return outcome(
            self.feed.name,
            became.became,
            became.issue,
            became.place,
            application_id(became.seq),
            self._time(self._clock()),
            became.fingerprint,
        )

    @property
    def reply_to(self) -> str:
        return self._rules.reply_to

    def connected(self, change: int) -> None:
        """A connection has opened (1) or ended (-1)."""
        self._journal.senders += change

    def nudge(self) -> None:
        """All that a packet held has been submitted."""
        self._journal.nudge()

    def keep_torn(self, data: bytes, ended: Callable[[], None]) -> None:
        """A torn frame: kept for the record, answered by no one; `ended` hears when it is off our hands."""
        at = self._clock()
        incoming = Incoming(
            self.feed.name, at, data, REJECTED, "", "", lanes=(self._own_lane,), issues=("torn-frame",)
        )  # fmt: skip
        self._journal.submit(incoming, lambda accepted: ended())

    def unable(self, header: Header | None, *, document: bool = False) -> Reply:
        """AE or CE: the message is not kept, the sender is to send it again."""
        own = f"CBX{self._entropy(7).hex()}"
        if document:
            return Reply("A" + ERROR, documents.unable(own), kept=False)
        code = code_for(header, ERROR, self._rules)
        answer = refusal(self.feed.name, code, own, self._time(self._clock()), REASONS["journal-unavailable"])
        return Reply(code, render(header, answer), wanted(header, code), kept=False)

    def _reply(self, prepared: Prepared, accepted: Accepted) -> Reply:
        answer = Answer.from_stored(accepted.ack)
        if prepared.document:
            return Reply(answer.code, documents.first(answer.control_id, prepared.refusal, accepted.issues))
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

    def _document_tokens(self, data: bytes, number: tuple[str, str]) -> bytes:
        """The keyed token of ClinicalDocument/id, and that of it and the content."""
        named = SEPARATOR.join(("document", self.feed.name, *number)).encode("utf-8", "surrogatepass")
        content = SEPARATOR.encode() + hashlib.sha256(data).digest()
        return self._locate(named)[:CONTROL_BYTES] + self._locate(named + content)

    def _time(self, at: datetime) -> str:
        second = int(at.timestamp())
        if self._second[0] != second:
            self._second = (second, timestamp(at, self._rules.zone))
        return self._second[1]


def _worse(code: str) -> int:
    """An error before a refusal before an acceptance."""
    return (ACCEPT, REJECT, ERROR).index(code[1])


def _told(replied: Replied, reply: Reply) -> bool:
    return replied(reply) is not False

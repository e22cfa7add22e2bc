"""Hospital sends: one sender a patient, numbered messages over MLLP, each sent again until it is acknowledged.

What a careful sending system does after a fault: it sends the very same bytes again, on a new connection, and goes on
to the next message only when this one has its positive acknowledgement. So what it holds acknowledgements for, and in
which order, is what the receiver promised (`tests/faults/check.py`). Everything in the messages is invented.

Each patient has two streams whose effects carry the message's number: `A08` puts it into her address, `ORU^R01` into
the value of one Observation that every message corrects.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from adapter.errors import Unavailable
from adapter.sender import acknowledgement_code, exchange

POSITIVE = frozenset({"AA", "CA"})
BEGINNING = datetime(2026, 3, 4, 8, tzinfo=UTC)
AGAIN_S = 0.03  # before a message is sent again
PATIENCE_S = 10.0
HEARD_S = 60.0


@dataclass(frozen=True, slots=True)
class Numbered:
    """The n-th message of one stream (`a08-3` or `oru-3`)."""

    stream: str
    number: int
    body: bytes = field(repr=False)


def messages(patient: int, numbers: Iterable[int]) -> list[Numbered]:
    """An update and a result of one patient for each number."""
    return [one for number in numbers for one in (_update(patient, number), _result(patient, number))]


def _update(patient: int, number: int) -> Numbered:
    at = _at(number)
    lines = [
        f"MSH|^~\\&|ADTSYS|HOSP|CHARTBRIDGE|HOSP|{at}||ADT^A08^ADT_A01|A{patient}-{number}|P|2.5.1|||AL|NE",
        f"EVN|A08|{at}",
        f"PID|1||{4000 + patient}^^^HOSP&2.999.1.4&ISO^MR||Demo^Nr{patient}||19800101|F|||Weg {number}^^Linz^^4020^AUT",
    ]
    return Numbered(f"a08-{patient}", number, _joined(lines))


def _result(patient: int, number: int) -> Numbered:
    at = _at(number)
    lines = [
        f"MSH|^~\\&|LABSYS|LAB|CHARTBRIDGE|HOSP|{at}||ORU^R01^ORU_R01|R{patient}-{number}|P|2.5.1|||AL|NE",
        f"PID|1||{4000 + patient}^^^HOSP&2.999.1.4&ISO^MR",
        f"OBR|1||F{patient}^LAB^2.999.3.1^ISO|24323-8^Panel^LN|||20260304080000+0000|||||||||||||||{at}||LAB|F",
        f"OBX|1|NM|2345-7^Glucose^LN||{number}|mg/dL^mg/dL^UCUM|||||F|||20260304080000+0000",
    ]
    return Numbered(f"oru-{patient}", number, _joined(lines))


def _at(number: int) -> str:
    return f"{BEGINNING + timedelta(seconds=number):%Y%m%d%H%M%S}+0000"


def _joined(lines: Sequence[str]) -> bytes:
    return "".join(line + "\r" for line in lines).encode()


@dataclass(slots=True)
class Hospital:
    """Senders that go on until `stop`, through every loss of the receiver; `acknowledged` in the order of each."""

    port: int
    patients: int = 4
    pause_s: float = 0.02
    acknowledged: list[Numbered] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)
    _stopped: bool = False

    def stop(self) -> None:
        """Begin no further message: what is under way is still sent until it is acknowledged."""
        self._stopped = True

    async def send(self) -> None:
        """All senders, until each has stopped with an acknowledgement for its last message."""
        async with asyncio.TaskGroup() as group:
            for patient in range(self.patients):
                group.create_task(self._sender(patient))

    async def _sender(self, patient: int) -> None:
        line = _Line(self.port)
        number = 0
        while not self._stopped:
            number += 1
            for message in messages(patient, [number]):
                await self._until_acknowledged(line, message)
                await asyncio.sleep(self.pause_s)
        line.hang_up()

    async def _until_acknowledged(self, line: "_Line", message: Numbered) -> None:
        while (code := await line.ask(message.body)) not in POSITIVE:
            self.codes[code] += 1
            await asyncio.sleep(AGAIN_S)
        self.codes[code] += 1
        self.acknowledged.append(message)

    async def heard(self, enough: Callable[[Counter[str]], bool]) -> None:
        """Return once the codes that came back ("" for no answer) are enough."""
        async with asyncio.timeout(HEARD_S):
            while not enough(self.codes):  # noqa: ASYNC110 - they come from another process
                await asyncio.sleep(0.01)


class _Line:
    """One connection at a time, dialled again whenever it broke."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, body: bytes) -> str:
        """The acknowledgement's code, or "" when there was none."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                if self._open is None:
                    self._open = await asyncio.open_connection("127.0.0.1", self._port)
                return acknowledgement_code(await exchange(*self._open, body))
        except (OSError, Unavailable, TimeoutError):
            self.hang_up()
            return ""

    def hang_up(self) -> None:
        if self._open is not None:
            self._open[1].close()
        self._open = None

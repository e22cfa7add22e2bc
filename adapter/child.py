"""A conversion child: bytes of a message in, FHIR out; nothing else.

It holds the profiles and the key that names resources; no other key, no store, no socket, no state between two
messages. The parent (`children.py`) kills it when a message takes too long; its own timer ends it when the parent is
gone. Memory is capped, so a message that wants more ends this process and nothing else.
Source: operations chapter §2, §4.
"""

import json
import logging
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from msgspec.structs import replace

from adapter import tuning
from adapter.errors import whereabouts
from adapter.profiles import site_profile
from adapter.wire import Answer, Hello, Question, WireIssue, answer, pack, read_hello, read_question
from mappings.convert import is_document, to_fhir
from mappings.errors import MappingError
from mappings.hl7v2.message import peek
from mappings.profile import Profile

SLACK_S = 5.0


def main(asked: BinaryIO, answered: BinaryIO) -> None:
    """Answer until the parent closes the pipe."""
    frames = _frames(asked)
    first = next(frames, None)
    if first is None:
        return
    hello = read_hello(first)
    profiles = {feed: site_profile(hello.site, name, hello.identity_key) for feed, name in hello.profiles.items()}
    tuning.settle()
    _cap(hello)
    _send(answered, b"")  # ready
    for frame in frames:
        signal.setitimer(signal.ITIMER_REAL, hello.limit_s + SLACK_S)
        question = read_question(frame)
        _send(answered, pack(convert(question, profiles[question.feed])))
        signal.setitimer(signal.ITIMER_REAL, 0)


def convert(question: Question, profile: Profile) -> Answer:
    """One message. What cannot be used at all is a failure with its place.

    A sender that was unknown at receipt is judged again: the profile may have been mended since.
    """
    if question.stranger and ((header := peek(question.data)) is None or not profile.matches(header)):
        return Answer(failure=WireIssue("wrong-sender", "error", "MSH", ""))
    document = is_document(question.data)
    try:
        conversion = to_fhir(question.data, profile, at=question.at, events=False)
    except MappingError as exc:
        return Answer(failure=failure(exc), document=document)
    if conversion.filtered:
        return Answer(filtered=conversion.filtered)
    return replace(answer(conversion), document=document)


def failure(error: MappingError) -> WireIssue:
    """A conversion error as the quarantine keeps it: code and place, no value."""
    place = getattr(error, "place", None)
    return WireIssue(getattr(error, "code", "unreadable"), "error", "" if place is None else str(place), "")


def _cap(hello: Hello) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + hello.memory_bytes, used + hello.memory_bytes))


def _frames(asked: BinaryIO) -> Iterator[bytes]:
    while head := asked.read(4):
        yield asked.read(int.from_bytes(head))


def _send(answered: BinaryIO, data: bytes) -> None:
    answered.write(len(data).to_bytes(4) + data)
    answered.flush()


def _told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What ended this process: the error's type and where; its text may hold a value of the message."""
    sys.stderr.write(json.dumps({"event": "child.failed", "level": "error", "fault": whereabouts(error)}) + "\n")


def _quiet() -> None:
    """Nothing but `_told` writes to standard error, where it would stand in the node's log."""
    sys.excepthook = _told
    sys.unraisablehook = lambda unraisable: None
    logging.disable()


if __name__ == "__main__":
    _quiet()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent decides when a child ends
    main(sys.stdin.buffer, sys.stdout.buffer)

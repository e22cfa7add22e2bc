"""A watched folder: files become messages, each is answered by a file, and moved when it has been dealt with.

A sender writes `lab.hl7`, or `summary.xml`; once the file has stopped changing
1. it is read, and cut into its messages (one, a batch, or several in a row); what begins as XML does is one document;
2. each is journaled, under its place in this very file;
3. `lab.hl7.ack` is put beside it, whole or not at all: the answers, in the envelopes that the file had;
4. the file moves to `done/`, or to `failed/` where a message of it was not accepted: the answer says which. What
   its sender has put in its place meanwhile stays, for nobody has read it.

A kill between any two steps leaves the file where it is; taken up again, each message finds itself in its place and is
neither lost nor kept twice, whether it has a control id or not. What cannot be kept now is tried again later.
Names of files may name patients: none is logged, and none enters the journal but in a keyed digest.

Not taken: names that begin with a dot or end in `.ack`, links, and whatever is no plain file.
Source: hl7v2 chapter §11; operations chapter §4.
"""

import asyncio
import contextlib
import errno
import fnmatch
import hashlib
import os
import stat
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, count
from pathlib import Path

import structlog

from adapter.crash import crash_point
from adapter.errors import TooLarge, whereabouts
from adapter.files import sync_folder
from adapter.inbound import batch as batches
from adapter.inbound.ack import ACCEPT
from adapter.inbound.batch import Batch, Group
from adapter.inbound.documents import READERS
from adapter.inbound.feed import Feed
from adapter.inbound.intake import Intake, Prepared, Reply
from adapter.inbound.journal_table import Part
from adapter.inbound.mllp import HEAD_BYTES
from mappings.convert import is_document

DONE, FAILED, ACK = "done", "failed", ".ack"
MOST_MESSAGES = 1_000_000  # of one file
CHUNK = 256  # messages of a file in the journal's queue at a time, so that others' messages go between
REST_S = 60.0  # of a file that could not be read, answered or moved: the disk is full, perhaps
STOP_S = 10.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Look:
    """What a file looked like. `ctime` changes whenever someone touches it, a move out of `failed/` included."""

    size: int
    mtime: int
    ctime: int
    inode: int

    @classmethod
    def of(cls, found: os.stat_result) -> "Look":
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)

    def still(self, found: os.stat_result) -> bool:
        """Whether it is this file, untouched; under another name, perhaps."""
        return replace(self, ctime=found.st_ctime_ns) == Look.of(found)


@dataclass(slots=True)
class Seen:
    """A file that was looked at: since when it looks so, and until when it rests because it could not be dealt with."""

    look: Look
    since: float
    rests_until: float = 0.0


@dataclass(frozen=True, slots=True)
class File:
    """A file as it was read. `data` is its beginning only where it is over the limit."""

    name: str = field(repr=False)
    look: Look
    source: bytes = field(repr=False)
    data: bytes = field(repr=False)
    whole: bool = True


class Watcher:
    """One feed's folder. `await start()`, `await stop()`; `counters` says what happened, without content."""

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self.counters: Counter[str] = Counter()
        self._seen: dict[str, Seen] = {}
        self._task: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()
        self._away = False

    @property
    def feed(self) -> Feed:
        return self.intake.feed

    @property
    def folder(self) -> Path:
        path = self.feed.listen.path
        if path is None:
            raise RuntimeError("a watcher without a folder")
        return path

    async def start(self) -> None:
        """Begin to look. A folder that is not there may come: it is a mount, perhaps."""
        self._task = asyncio.create_task(self._watch(), name=f"folder-{self.feed.name}")

    async def stop(self, timeout_s: float = STOP_S) -> None:
        """Finish the file under way, within the time; what is cut off is taken up again at the next start."""
        self._ending.set()
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._task), timeout_s)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while not self._ending.is_set():
            try:
                await self.look()
                self._away = False
            except Exception as exc:  # a fault of ours must not end it in silence
                self._missing(exc)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), self.feed.listen.poll_s)

    async def look(self) -> None:
        """Once over the folder: deal with every file that has stopped changing, oldest first. Raises OSError."""
        for name in await asyncio.to_thread(self._ready, time.monotonic()):
            if self._ending.is_set():
                return
            try:
                await self._deal_with(name)
            except Exception as exc:  # of this file: not to be read, not to be moved, or a fault of ours
                self.counters["unusable"] += 1
                log.error("folder.file_unusable", feed=self.feed.name, reason=_reason(exc))
                if name in self._seen:
                    self._seen[name].rests_until = time.monotonic() + REST_S

    def _missing(self, error: Exception) -> None:
        if not self._away:
            log.error("folder.unavailable", feed=self.feed.name, reason=_reason(error))
        self._away = True

    def _ready(self, now: float) -> list[str]:
        """Names of the files that look as they did `stable_s` ago."""
        listen, found = self.feed.listen, {}
        for entry in os.scandir(self.folder):
            if _is_ours(entry.name) or not any(fnmatch.fnmatchcase(entry.name, each) for each in listen.patterns):
                continue
            with contextlib.suppress(FileNotFoundError):  # it was moved while we looked
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    found[entry.name] = Look.of(status)
        self._seen = {name: self._kept(name, look, now) for name, look in found.items()}
        ready = [name for name, seen in self._seen.items() if seen.since + listen.stable_s <= now >= seen.rests_until]
        return sorted(ready, key=lambda name: (self._seen[name].look.mtime, name))

    def _kept(self, name: str, look: Look, now: float) -> Seen:
        seen = self._seen.get(name)
        return seen if seen is not None and seen.look == look else Seen(look, now)

    async def _deal_with(self, name: str) -> None:
        """Steps 1 to 4. Raises OSError."""
        file = await asyncio.to_thread(self._read, name)
        crash_point("folder.read")
        if file is None:
            return  # it changes still
        batch, replies = await self._keep(file)
        if not all(reply.kept for reply in replies):
            self.counters["busy"] += 1
            return  # at the next look
        crash_point("folder.kept")
        for reply in replies:
            self.counters[reply.code] += 1
        answer = self.intake.gathered(batch, replies)
        good = all(reply.code[1] == ACCEPT for reply in replies)
        if await asyncio.to_thread(self._finish, file, answer, DONE if good else FAILED):
            self._seen.pop(name, None)
        else:
            self.counters["replaced"] += 1  # the new one is looked at like any other

    def _read(self, name: str) -> File | None:
        """The file as it stands; None where it is not the one that was looked at."""
        limit = self.feed.listen.limits.file_bytes
        descriptor = os.open(self.folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            before = Look.of(os.fstat(descriptor))
            data = file.read(limit + 1)
            if before != self._seen[name].look or Look.of(os.fstat(descriptor)) != before:
                return None
        whole = len(data) <= limit
        identity = os.fsencode(name) + f"\0{before.mtime}\0{before.ctime}\0{before.size}".encode()
        source = self.intake.source(identity + hashlib.sha256(data).digest())
        return File(name, before, source, data if whole else data[:HEAD_BYTES], whole)

    # 2. Keep ---------------------------------------------------------------------------------------------------------

    async def _keep(self, file: File) -> tuple[Batch, list[Reply]]:
        """Journal the messages of a file, some at a time; the answers in their order."""
        if is_document(file.data):
            return await self._keep_document(file)
        batch = await asyncio.to_thread(_cut, file)
        if batch is None:
            alone = _alone(file.data[:HEAD_BYTES])
            refused = self.intake.prepare_oversize(file.data[:HEAD_BYTES])
            return alone, await self._submit([self.intake.placed(refused, Part(file.source, 1, 1))])
        parts, replies = batch.parts, list[Reply]()
        for start in range(0, len(parts), CHUNK):
            some = await asyncio.to_thread(self._prepared, file, parts, start)
            replies += await self._submit(some)
        return batch, replies

    async def _keep_document(self, file: File) -> tuple[Batch, list[Reply]]:
        prepare = partial(self.intake.prepare_document, file.data, whole=file.whole)
        prepared = await asyncio.get_running_loop().run_in_executor(READERS, prepare)
        return _alone(b""), await self._submit([self.intake.placed(prepared, Part(file.source, 1, 1))])

    def _prepared(self, file: File, parts: tuple[batches.Part, ...], start: int) -> list[Prepared]:
        numbered = list(enumerate(parts[start : start + CHUNK], start + 1))
        return [self.intake.prepare_part(part, Part(file.source, n, len(parts))) for n, part in numbered]

    async def _submit(self, some: list[Prepared]) -> list[Reply]:
        loop = asyncio.get_running_loop()
        waiting: list[asyncio.Future[Reply]] = [loop.create_future() for _ in some]
        for prepared, future in zip(some, waiting, strict=True):
            self.intake.submit(prepared, partial(_settle, future))
        return await asyncio.gather(*waiting)

    # 3 and 4. Answer and move ----------------------------------------------------------------------------------------

    def _finish(self, file: File, answer: Reply, where: str) -> bool:
        """Whether it was the file that was read, and is out of the way."""
        path = self.folder / file.name
        if not file.look.still(path.lstat()):
            return False
        if answer.wanted:
            self._put(file.name + ACK, answer.message)
        crash_point("folder.answered")
        target = self.folder / where
        target.mkdir(exist_ok=True)
        moved = path.rename(_free(target, file.name))
        ours = file.look.still(moved.lstat())
        if not ours:
            _put_back(moved, path)
        sync_folder(target)
        sync_folder(self.folder)
        crash_point("folder.moved")
        return ours

    def _put(self, name: str, data: bytes) -> None:
        """Whole or not at all; with the permissions that this process gives new files, for its sender is to read it."""
        part = self.folder / f".{name}.part"
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.folder / name)
        sync_folder(self.folder)


def _is_ours(name: str) -> bool:
    return name.startswith(".") or name.endswith(ACK)


def _cut(file: File) -> Batch | None:
    """The messages of a file; None where it is too large, or holds too many."""
    if not file.whole:
        return None
    try:
        batch = batches.split(file.data, MOST_MESSAGES)
    except TooLarge:
        return None
    return _alone(file.data) if batch is None or not batch.parts else batch


def _alone(data: bytes) -> Batch:
    return Batch(b"", (Group(b"", (batches.Part(data),)),))


def _settle(future: "asyncio.Future[Reply]", reply: Reply) -> None:
    if not future.done():
        future.set_result(reply)


def _put_back(moved: Path, path: Path) -> None:
    """Of a file that came in the last moment. Raises OSError where yet another has come: it lies there unread."""
    if path.exists():
        raise FileExistsError(errno.EEXIST, "replaced twice while it was moved")
    moved.rename(path)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or whereabouts(error)


def _free(folder: Path, name: str) -> Path:
    """A name that no file of the folder has: the same one may come every night."""
    others = (folder / f"{name}.{n}" for n in count(2))
    return next(path for path in chain([folder / name], others) if not path.exists())

"""What operators do with feeds, recorded before it is done: apply a file, pause, resume, drain.

Feeds are files, and a change is a new file: checked beside the others and with its profile, recorded on the ledger with
its revision, which covers the profile's files, its last commit where it lies in a git repository, and who applied it;
then put in place, whole or not at all. A running `serve` takes it up and says so (`store/feeds.py`).
Source: operations chapter §4; ledger chapter §5.
"""

import asyncio
import json
import re
import subprocess
import time
import tomllib
from dataclasses import replace
from pathlib import Path

from adapter.errors import ConfigurationError, Conflict, NotFound
from adapter.files import sync_folder, write_private
from adapter.inbound.feed import FOLDER, Feed, feed_from, load_feeds, read_feed, revision_of
from adapter.operators import record
from adapter.profiles import own_files, site_profile
from adapter.site import Site, now
from adapter.store import feeds as table
from adapter.store.feeds import FeedRun

GIT_S = 5.0
TAKEN_UP_S = 10.0
_TABLE = re.compile(r"^[ \t]*\[", re.MULTILINE)
_STATE = re.compile(r"""^[ \t]*state[ \t]*=[ \t]*("[^"\n]*"|'[^'\n]*')""", re.MULTILINE)


async def apply_feed(site: Site, file: Path, author: str) -> tuple[Feed, str]:
    """Check a feed beside the others, with its profile; record the act; put in place the very bytes that were checked.

    Raises ConfigurationError: nothing is recorded then. The feed, and the reference of the entry.
    """
    feed, data = check_feed(site, file)
    return feed, await _place(site, feed, data, author, "feed.apply", last_commit(file))


async def set_state(site: Site, name: str, state: str, author: str, action: str, why: str) -> tuple[Feed, str]:
    """Write another state into the feed's file; the feed, and the reference of the entry. Raises NotFound."""
    path = feed_file(site, name)
    before = read_feed(path, site.folder, site.org)
    text = with_state(before.text, state)
    if not _says(text, before.text, state):
        fault = f"{path.name} is written in a way that cannot be changed here"
        raise ConfigurationError(fault, hint=f"edit {path.name}, then chartbridge feed apply {path.name}")
    data, after = text.encode("utf-8"), feed_from(tomllib.loads(text), path.name)
    revision = revision_of(data, own_files(site.folder, before.profile))
    feed = replace(before, state=after.state, revision=revision, text=text)
    return feed, await _place(site, feed, data, author, action, last_commit(path), why)


def _says(text: str, before: str, state: str) -> bool:
    """Whether a file says what the one before said, with this state."""
    try:
        return tomllib.loads(text) == tomllib.loads(before) | {"state": state}
    except tomllib.TOMLDecodeError:
        return False


def with_state(text: str, state: str) -> str:
    """The file's text with another state; comments and order stay."""
    first = _TABLE.search(text)
    end = first.start() if first else len(text)
    head, rest = text[:end], text[end:]
    found = _STATE.search(head)
    if found is not None:
        return head[: found.start(1)] + json.dumps(state) + head[found.end(1) :] + rest
    said = head.rstrip()
    gap = head[len(said) :] or "\n"
    return said + ("\n" if said else "") + f"state = {json.dumps(state)}{gap}{rest}"


def check_feed(site: Site, file: Path) -> tuple[Feed, bytes]:
    """A feed's file as it could be applied, and its bytes. Raises ConfigurationError, Conflict."""
    feed = read_feed(file, site.folder, site.org)
    site_profile(site.folder, feed.profile)
    data = file.read_bytes()
    if revision_of(data, own_files(site.folder, feed.profile)) != feed.revision:
        raise Conflict("the file, or its profile, changed while it was read", hint="apply it again")
    _target(site, feed)
    return feed, data


def feed_file(site: Site, name: str) -> Path:
    """The file of a feed. Raises NotFound."""
    for path in sorted((site.folder / FOLDER).glob("*.toml")):
        if read_feed(path, site.folder, site.org).name == name:
            return path
    raise NotFound(f"no feed {name}", hint="chartbridge feed list")


def _target(site: Site, feed: Feed) -> Path:
    """The file that holds the feed of this name, else a new one. Raises ConfigurationError for another's port."""
    folder = site.folder / FOLDER
    found = folder / f"{feed.name}.toml"
    for path in sorted(folder.glob("*.toml")):
        other = read_feed(path, site.folder, site.org)
        if other.name == feed.name:
            found = path
        elif feed.listen.kind == other.listen.kind == "mllp" and feed.listen.port == other.listen.port != 0:
            text = f"port {feed.listen.port} is that of the feed {other.name}"
            raise ConfigurationError(text, hint="choose another listen.port")
        elif feed.listen.kind == other.listen.kind == "folder" and feed.listen.path == other.listen.path:
            raise ConfigurationError(f"the folder is that of the feed {other.name}", hint="choose another listen.path")
        elif path == found:
            raise ConfigurationError(f"{path.name} holds the feed {other.name}", hint="rename that file first")
    return found


async def _place(site: Site, feed: Feed, data: bytes, author: str, action: str, git: str, why: str = "") -> str:
    target = _target(site, feed)
    staged = target.with_suffix(".new")
    staged.unlink(missing_ok=True)  # of an apply that was cut off
    write_private(staged, data)
    ref = await record(site, author, action, " ".join(filter(None, (feed.name, feed.revision, git, why))))
    staged.replace(target)
    sync_folder(target.parent)
    at = int(now().timestamp() * 1000)
    await site.store.write(lambda conn: table.want(conn, site.org, feed.name, feed.revision, at, author, git, ref))
    return ref


def last_commit(file: Path) -> str:
    """The last commit of a file, `+` behind it where the file differs from it; "" outside git, or without it."""
    try:
        commit = _git(file, "log", "-1", "--format=%h", "--", file.name)
        return commit + ("+" if commit and _git(file, "status", "--porcelain", "--", file.name) else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(file: Path, *words: str) -> str:
    command = ["git", *words]  # our own words, and a file's name behind --
    done = subprocess.run(  # noqa: S603
        command, cwd=file.parent, capture_output=True, text=True, timeout=GIT_S, check=True
    )
    return done.stdout.strip()


async def taken_up(site: Site, feed: Feed, timeout_s: float = TAKEN_UP_S) -> FeedRun | None:
    """What a running node says of an applied feed, once it says anything; None in the end."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        run = (await runs(site)).get(feed.name)
        if run is not None and (run.fault or (run.runs == feed.revision and run.at >= run.wanted_at)):
            return run  # the same revision may be applied anew, for its profile to be read anew
        await asyncio.sleep(0.1)
    return None


async def runs(site: Site) -> dict[str, FeedRun]:
    """What was applied, and what a node has taken up, by feed."""
    return await site.store.read(lambda conn: table.every(conn, site.org))


def feeds_of(site: Site) -> dict[str, Feed]:
    """The feeds as their files say. Raises ConfigurationError."""
    return load_feeds(site.folder, site.org)

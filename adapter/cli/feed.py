"""`chartbridge feed`: feeds as files, applied to a site and taken up by a running `serve`."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from adapter.cli import completion
from adapter.cli.console import OPTIONS, Exit, emit, emit_list, progress, shown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from adapter.inbound.feed import Feed
    from adapter.inbound.journal import JournalReader
    from adapter.site import Site
    from adapter.store.feeds import FeedRun

app = typer.Typer(no_args_is_help=True, help="Feeds as files: list, compare, apply, pause and try them.")

T = TypeVar("T")
Name = Annotated[str, typer.Argument(help="The feed's name.", autocompletion=completion.feeds)]
Why = Annotated[str, typer.Option(help="Why, for the ledger.")]
Author = Annotated[str, typer.Option(help="Who does it, for the ledger.")]
COLUMNS = ("feed", "state", "kind", "listens", "profile", "revision", "runs", "drift", "waiting", "stopped")


@app.command("list")
def list_feeds() -> None:
    """The feeds of this site: their files, what runs of them, and how many messages wait."""

    async def run(site: "Site", journal: "JournalReader") -> list[dict[str, Any]]:
        from adapter.feed_acts import feeds_of, runs
        from adapter.lock import is_served

        known, served = await runs(site), is_served(site.folder)
        counted = await _counts(site, journal)
        return [
            _described(feed, known.get(name), served=served) | _waiting(counted.get(name, {}))
            for name, feed in feeds_of(site).items()
        ]

    emit_list("chartbridge.feed/1", _opened(run), COLUMNS)


def _described(feed: "Feed", run: "FeedRun | None", *, served: bool) -> dict[str, Any]:
    listen = feed.listen
    return {
        "feed": feed.name,
        "state": feed.state,
        "kind": listen.kind,
        "listens": listen.port if listen.kind == "mllp" else str(listen.path) if listen.path else "/hl7v2",
        "port": listen.port if listen.kind == "mllp" else "",
        "profile": feed.profile,
        "revision": feed.revision,
        "runs": run.runs if run is not None and served else "",
        "drift": _drift(feed, run) if served else "",
    }


def _drift(feed: "Feed", run: "FeedRun | None") -> str:
    """How the file, or its profile, differs from what runs."""
    if run is not None and run.fault:
        return "fault"
    return "" if run is not None and run.runs == feed.revision else "drift"


async def _counts(site: "Site", journal: "JournalReader") -> dict[str, dict[str, int]]:
    """Messages by feed and state; `new` are those that nobody has processed yet."""
    from adapter.store import messages

    found: dict[str, dict[str, int]] = {}
    for (feed, state), number in (await site.store.read(lambda conn: messages.counts(conn, site.org))).items():
        found.setdefault(feed, {})[state] = number
    for (feed, state), number in (await journal.counts()).items():
        mine = found.setdefault(feed, {})
        acted_on = sum(mine.values()) if state == "new" else 0
        mine[state] = max(0, number - acted_on) + mine.get("new", 0) if state == "new" else number
    return found


def _waiting(states: dict[str, int]) -> dict[str, int]:
    return {
        "waiting": states.get("new", 0),
        "stopped": sum(states.get(state, 0) for state in ("quarantined", "held", "dead")),
    }


@app.command()
def show(name: Name) -> None:
    """One feed: every setting, what runs, who applied it, where its messages stand, which answers are due."""

    async def run(site: "Site", journal: "JournalReader") -> dict[str, Any]:
        from adapter.feed_acts import feed_file, runs
        from adapter.inbound.feed import read_feed
        from adapter.lock import is_served
        from adapter.store import replies

        feed = read_feed(feed_file(site, name), site.folder, site.org)
        run = (await runs(site)).get(name)
        answers = await site.store.read(lambda conn: replies.count(conn, site.org))
        value = _described(feed, run, served=is_served(site.folder))
        value |= {"org": feed.org, "poison": feed.policy.poison, "listen": _listen(feed)}
        value |= {"messages": (await _counts(site, journal)).get(name, {})}
        value |= {"answers": {how or "waiting": number for (of, how), number in answers.items() if of == name}}
        return value | _applied(run)

    value = _opened(run)
    text = [f"{key:<11}{_plain(one)}" for key, one in value.items() if one not in ("", {})]
    emit("chartbridge.feed.show/1", value, "\n".join(text))


def _listen(feed: "Feed") -> dict[str, Any]:
    """Settings of the way in that are set, or matter to its kind."""
    import msgspec

    listen = msgspec.to_builtins(feed.listen, enc_hook=str)
    mine = {"mllp": ("host", "port", "tls", "allow", "limits"), "folder": ("path", "pattern", "poll_s", "stable_s"),
            "http": ("limits",)}[feed.listen.kind]  # fmt: skip
    return {key: value for key, value in listen.items() if key in mine and value}


def _applied(run: "FeedRun | None") -> dict[str, Any]:
    from datetime import UTC, datetime

    if run is None:
        return {}
    said: dict[str, Any] = {"fault": run.fault}
    if run.wanted:
        at = shown(datetime.fromtimestamp(run.wanted_at / 1000, UTC))
        said["applied"] = {"revision": run.wanted, "at": at, "by": run.who, "git": run.git, "entry": run.ref}
    if run.at:
        said["taken_up"] = shown(datetime.fromtimestamp(run.at / 1000, UTC))
    return said


def _plain(value: object) -> str:
    return "  ".join(f"{key}={one}" for key, one in value.items() if one) if isinstance(value, dict) else str(value)


@app.command()
def diff(
    what: Annotated[
        str, typer.Argument(help="A feed's name: what runs against its file. Or a file: against the site's.")
    ],
) -> None:
    """How a feed's file differs from what runs, or a new file from the one in place. Nothing is said of equal ones."""

    async def run(site: "Site", journal: "JournalReader") -> str:
        import difflib

        before, after, beside = await _texts(site, what)
        lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "before", "after", lineterm="")
        return "\n".join([*lines, *beside])

    text = _opened(run)
    if text or OPTIONS.json:
        emit("chartbridge.feed.diff/1", {"feed": what, "diff": text}, text)


async def _texts(site: "Site", what: str) -> tuple[str, str, list[str]]:
    """What is, and what would be; and what differs beside the text."""
    from adapter.errors import NotFound
    from adapter.feed_acts import feed_file, runs
    from adapter.inbound.feed import read_feed

    if Path(what).suffix == ".toml":
        feed = read_feed(Path(what), site.folder, site.org)
        try:
            return read_feed(feed_file(site, feed.name), site.folder, site.org).text, feed.text, []
        except NotFound:
            return "", feed.text, []
    run, feed = (await runs(site)).get(what), read_feed(feed_file(site, what), site.folder, site.org)
    if run is None:
        return "", feed.text, []
    same = run.runs.partition(".")[2] == feed.revision.partition(".")[2]
    return run.text, feed.text, [] if same else [f"profile {feed.profile}: its files are not those that run"]


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(help="A feed's TOML file.")],
    author: Author = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check it and say what would change.")] = False,
) -> int:
    """Check a feed with its profile, record the act on the ledger, put the file in place; `serve` takes it up."""
    from adapter import feed_acts

    async def run(site: "Site", journal: "JournalReader") -> int:
        if dry_run:
            feed, _ = feed_acts.check_feed(site, file)
            progress("nothing was changed")
            value = {"feed": feed.name, "revision": feed.revision, "entry": "", "taken_up": False, "dry_run": True}
            emit("chartbridge.feed.apply/1", value, f"feed {feed.name} can be applied, at revision {feed.revision}")
            return Exit.DONE
        return await _finish(site, *await feed_acts.apply_feed(site, file, author or _user()))

    return _opened(run)


@app.command()
def pause(name: Name, why: Why = "", author: Author = "") -> int:
    """Go on accepting, and hold what comes until the feed is resumed."""
    return _to(name, "paused", "feed.pause", why, author)


@app.command()
def resume(name: Name, why: Why = "", author: Author = "") -> int:
    """Run: accept, and process what was held meanwhile, in its order."""
    return _to(name, "running", "feed.resume", why, author)


@app.command()
def drain(name: Name, why: Why = "", author: Author = "") -> int:
    """Close the way in, and process what there is."""
    return _to(name, "draining", "feed.drain", why, author)


def _to(name: str, state: str, action: str, why: str, author: str) -> int:
    from adapter import feed_acts

    async def run(site: "Site", journal: "JournalReader") -> int:
        return await _finish(site, *await feed_acts.set_state(site, name, state, author or _user(), action, why))

    return _opened(run)


async def _finish(site: "Site", feed: "Feed", ref: str) -> int:
    """Say what became of it; with a running `serve`, what that says."""
    from adapter.feed_acts import taken_up
    from adapter.lock import is_served

    run = await taken_up(site, feed) if is_served(site.folder) else None
    done = run is not None and not run.fault
    value = {"feed": feed.name, "state": feed.state, "revision": feed.revision, "entry": ref, "taken_up": done}
    said = "serve runs it now" if done else "it runs when serve starts"
    if run is not None and run.fault:
        said = f"serve goes on with what ran: {run.fault}"
    elif not done and is_served(site.folder):
        said = "serve has not taken it up yet"
    value["fault"] = run.fault if run is not None else ""
    text = f"feed {feed.name} is {feed.state} at revision {feed.revision}, recorded as {ref}; {said}"
    emit("chartbridge.feed.apply/1", value, text)
    return Exit.PARTLY if value["fault"] else Exit.DONE


@app.command("test")
def try_feed(
    what: Annotated[str, typer.Argument(help="A feed's name, or a feed's TOML file.")],
    files: Annotated[list[Path] | None, typer.Argument(help="Messages to try, as files or folders.")] = None,
) -> int:
    """Try a feed without running it: its files, its way in, and what would become of messages. Changes nothing."""

    async def run(site: "Site", journal: "JournalReader") -> list[dict[str, Any]]:
        from adapter.cli.feed_trial import checks, tries
        from adapter.feed_acts import check_feed, feed_file

        feed, _ = check_feed(site, Path(what) if Path(what).suffix == ".toml" else feed_file(site, what))
        return [*checks(site, feed), *tries(site, feed, files or [])]

    rows = _opened(run)
    emit_list("chartbridge.feed.test/1", rows, ("ok", "what", "found"))
    bad = sum(not row["ok"] for row in rows)
    return Exit.DONE if not bad else Exit.FAILED if bad == len(rows) else Exit.PARTLY


def _opened(run: "Callable[[Site, JournalReader], Awaitable[T]]") -> T:
    from adapter.journals import reader
    from adapter.settings import find_site
    from adapter.site import open_site

    async def opened() -> T:
        async with open_site(find_site(OPTIONS.site)) as site:
            journal = reader(site)
            try:
                return await run(site, journal)
            finally:
                await journal.close()

    return asyncio.run(opened())


def _user() -> str:
    import getpass

    return getpass.getuser()

"""`chartbridge msg`: what came in, where it stands, and what a person decides about it."""

import asyncio
import getpass
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapter.cli import completion
from adapter.cli.console import OPTIONS, confirm, emit, emit_list, progress, shown, since
from adapter.errors import NotFound, UsageError

if TYPE_CHECKING:
    from adapter.inbound.journal import JournalReader
    from adapter.inbound.journal_table import Part, Row
    from adapter.rehearsal import Rehearsed
    from adapter.site import Site
    from adapter.store.messages import MessageState

    Act = Callable[[Site, JournalReader, Sequence[int], str, str], Awaitable[list[int]]]

app = typer.Typer(no_args_is_help=True, help="Messages: what came in, where it stands, and what to do about it.")

COLUMNS = ("seq", "received", "feed", "state", "attempt", "code", "fingerprint")
PAGE = 500  # rows of the journal that are looked at together

Seqs = Annotated[list[int] | None, typer.Argument(help="Numbers of messages.")]
Fingerprint = Annotated[str, typer.Option(help="All quarantined messages of one error group.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say which messages it would be.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
State = Annotated[str, typer.Option(help="Only messages in this state.")]
Feed = Annotated[str, typer.Option(help="Only messages of this feed.", autocompletion=completion.feeds)]
Since = Annotated[str, typer.Option(help="Only what was received since: 2h, 30m, 7d or a time.")]


@asynccontextmanager
async def _opened() -> AsyncIterator[tuple["Site", "JournalReader"]]:
    from adapter.journals import reader
    from adapter.settings import find_site
    from adapter.site import open_site

    async with open_site(find_site(OPTIONS.site)) as site:
        journal = reader(site)
        try:
            yield site, journal
        finally:
            await journal.close()


def _described(row: "Row", state: "MessageState | None", part: "Part | None" = None) -> dict[str, Any]:
    return {
        "seq": row.seq,
        "received": shown(row.at),
        "feed": row.feed,
        "state": state.state if state is not None else row.state,
        "attempt": state.attempt if state is not None else 1,
        "code": (state.code if state is not None else None) or " ".join(row.issues),
        "fingerprint": (state.fingerprint if state is not None else None) or "",
    } | ({"part": f"{part.n} of {part.total}"} if part is not None else {})


async def _states(site: "Site", rows: Sequence["Row"]) -> dict[int, "MessageState | None"]:
    from adapter.store import messages

    return await site.store.read(lambda conn: {row.seq: messages.state(conn, site.org, row.seq) for row in rows})


@app.command("list")
def list_messages(
    state: State = "",
    feed: Feed = "",
    since_: Annotated[str, typer.Option("--since", help="Only what was received since: 2h, 30m, 7d or a time.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 50,
) -> None:
    """Messages, newest first, with their states; no content."""
    from adapter.site import now

    begin = since(since_, now())

    async def run() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        async with _opened() as (site, journal):
            before = None
            while len(found) < limit and (page := await journal.listing(PAGE, before, feed or None)):
                before = page[-1].seq
                rows = [row for row in page if begin is None or row.at >= begin]
                states, parts = await _states(site, rows), await journal.parts([row.seq for row in rows])
                described = [_described(row, states[row.seq], parts.get(row.seq)) for row in rows]
                found += [one for one in described if not state or one["state"] == state]
                if len(rows) < len(page):
                    break
        return found[:limit]

    emit_list("chartbridge.msg/1", asyncio.run(run()), COLUMNS)


@app.command()
def show(
    seq: Annotated[int, typer.Argument(help="The message's number.")],
    reveal: Annotated[str, typer.Option(help="Show the values too; the reason is recorded on the ledger.")] = "",
) -> None:
    """One message: every state it was in, who moved it and why; its shape, with letters and digits masked."""
    from adapter.operators import record
    from adapter.store import messages

    async def run() -> tuple[dict[str, Any], bytes]:
        async with _opened() as (site, journal):
            row = await journal.row(seq)
            found = (await _states(site, [row]))[seq]
            steps = await site.store.read(lambda conn: messages.transitions(conn, site.org, seq))
            part = (await journal.parts([seq])).get(seq)
            if reveal:
                await record(site, getpass.getuser(), "msg.reveal", f"{seq} {reveal}")
            body = await _body(journal, row, asked=bool(reveal))
            value = _described(row, found, part) | {"ack": (row.ack or "").split(" ")[0]}
            value |= {"first": row.first, "answer": await _answer(site, seq)}
            return value | {"history": [_step(step) for step in steps]}, body

    value, body = asyncio.run(run())
    from adapter.mask import masked
    from adapter.mask import shown as as_text

    key, text = ("content", as_text(body)) if reveal else ("masked", masked(body) if body else "")
    lines = [f"{name:<12}{one}" for name, one in value.items() if name != "history" and one not in (None, "", {})]
    lines += [f"{one['at']}  {one['from']} → {one['to']}  {one['who']}  {one['why']}" for one in value["history"]]
    lines += [text.replace("\r\n", "\n").replace("\r", "\n").rstrip()] if text else []
    emit("chartbridge.msg.show/1", value | {key: text}, "\n".join(lines))


async def _body(journal: "JournalReader", row: "Row", *, asked: bool) -> bytes:
    """The message as received; b"" where it is not kept and nobody asked for it."""
    try:
        return await journal.body(row)
    except NotFound:
        if asked:
            raise
        return b""


async def _answer(site: "Site", seq: int) -> dict[str, Any]:
    """The application's answer to its sender, where one was due."""
    from adapter.store import replies

    found = await site.store.read(lambda conn: replies.outcomes(conn, site.org, [seq]))
    return {"of": found[0].became, "ended": found[0].ended or "waiting", "tries": found[0].tries} if found else {}


def _step(step: Any) -> dict[str, Any]:
    at = datetime.fromtimestamp(step.at / 1000, UTC)
    return {
        "at": at.isoformat(timespec="milliseconds"), "from": step.from_state, "to": step.to_state, "who": step.who,
        "why": step.why, "took_us": step.took_us,
    }  # fmt: skip


@app.command()
def tail(
    feed: Feed = "",
    state: State = "",
    limit: Annotated[int, typer.Option(min=0, help="End after so many; 0: never.")] = 0,
    begin: Annotated[str, typer.Option("--since", help="Begin with what was received since: 2h, 30m, 7d.")] = "",
) -> None:
    """Messages as they come and as their states change, until interrupted; no content."""
    from adapter.cli.msg_tail import follow
    from adapter.site import now

    earliest = since(begin, now())

    async def run() -> None:
        async with _opened() as (site, journal):
            told = 0
            async for one in follow(site, journal, feed, earliest):
                if state and one["state"] != state:
                    continue
                text = f"{one['at']}  {one['seq']:>8}  {one['feed']:<16}  {one['state']:<12}  {one['why']}".rstrip()
                emit("chartbridge.msg.tail/1", one, text)
                told += 1
                if told == limit:
                    return

    asyncio.run(run())


def _decide(
    verb: str,
    seqs: list[int] | None,
    fingerprint: str,
    act: "Act",
    why: str,
    *,
    dry_run: bool,
    plan: "Act | None" = None,
) -> None:
    """One act on chosen messages: named ones, or an error group."""
    from adapter import operators

    if bool(seqs) == bool(fingerprint):
        raise UsageError("name messages, or a fingerprint", hint="chartbridge msg list --state quarantined")

    async def run() -> list[int]:
        async with _opened() as (site, journal):
            chosen = seqs or await operators.by_fingerprint(site, fingerprint)
            if not chosen:
                return []
            doing = (plan or _named) if dry_run else act
            return await doing(site, journal, chosen, getpass.getuser(), why)

    moved = asyncio.run(run())
    if dry_run:
        progress("nothing was changed")
    emit(f"chartbridge.msg.{verb}/1", {"messages": moved, "dry_run": dry_run}, " ".join(map(str, moved)) or "none")


async def _named(site: "Site", journal: "JournalReader", seqs: Sequence[int], who: str, why: str) -> list[int]:
    for seq in seqs:
        await journal.row(seq)
    return sorted(seqs)


@app.command()
def replay(
    seq: Seqs = None,
    fingerprint: Fingerprint = "",
    why: Annotated[str, typer.Option(help="Why, for the history.")] = "replay",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say which it would be, and what would change.")
    ] = False,
) -> None:
    """Send messages round again, oldest first, with those held behind them. A running `serve` takes them up."""
    from adapter.operators import replay as act

    told: list[Rehearsed] = []

    async def plan(site: "Site", journal: "JournalReader", seqs: Sequence[int], who: str, why: str) -> list[int]:
        from adapter.cli.msg_rehearsal import would_go

        waiting, found = await would_go(site, journal, seqs)
        told.extend(found)
        return waiting

    _decide("replay", seq, fingerprint, act, why, dry_run=dry_run, plan=plan)
    if told:
        from adapter.cli.msg_rehearsal import show

        show(told)


@app.command()
def hold(
    seq: Seqs = None,
    why: Annotated[str, typer.Option(help="Why, for the history and the ledger.")] = "hold",
    dry_run: DryRun = False,
) -> None:
    """Keep messages that have not taken effect yet from doing so, and their patients' later ones behind them."""
    from adapter.operators import hold as act

    _decide("hold", seq, "", act, why, dry_run=dry_run)


@app.command()
def release(
    seq: Seqs = None,
    why: Annotated[str, typer.Option(help="Why, for the history and the ledger.")] = "release",
    dry_run: DryRun = False,
) -> None:
    """Let held messages go now, before what they wait behind. What waits behind them stays."""
    from adapter.operators import release as act

    _decide("release", seq, "", act, why, dry_run=dry_run)


@app.command()
def discard(
    why: Annotated[str, typer.Option(help="Why, for the history and the ledger.")],
    seq: Seqs = None,
    fingerprint: Fingerprint = "",
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Leave messages for good. What was held behind them goes its way."""
    from adapter.operators import discard as act

    if not dry_run:
        confirm("discard messages", yes=yes)
    _decide("discard", seq, fingerprint, act, why, dry_run=dry_run)


@app.command()
def resend(seq: Annotated[list[int], typer.Argument(help="Numbers of messages.")]) -> None:
    """Send the results of messages to their sinks again. No sink can be configured in this version: exit 5."""

    async def run() -> None:
        async with _opened() as (_, journal):
            for one in seq:
                await journal.row(one)

    asyncio.run(run())
    raise NotFound("no sink is configured: there is nowhere to send to", hint="chartbridge msg replay, to map it again")


@app.command()
def export(
    folder: Annotated[Path, typer.Option("--dir", help="Folder for the files, SEQ.hl7 or SEQ.xml each.")],
    seq: Seqs = None,
    fingerprint: Fingerprint = "",
    reveal: Annotated[str, typer.Option(help="With their values; the reason is recorded on the ledger.")] = "",
    dry_run: DryRun = False,
) -> None:
    """Write messages as files, with letters and digits masked unless a reason is given. The act is recorded."""

    async def act(site: "Site", journal: "JournalReader", seqs: Sequence[int], who: str, why: str) -> list[int]:
        from adapter.files import write_private
        from adapter.mask import masked
        from adapter.operators import record
        from mappings.convert import is_document

        bodies = {one: await journal.body(await journal.row(one)) for one in seqs}
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        names = {one: f"{one}.xml" if is_document(body) else f"{one}.hl7" for one, body in bodies.items()}
        if taken := [name for name in names.values() if (folder / name).exists()]:
            raise UsageError(f"{taken[0]} exists already", hint="name a new folder")
        await record(site, who, "msg.export", f"{','.join(map(str, sorted(bodies)))} {why or 'masked'}")
        for one, body in bodies.items():
            write_private(folder / names[one], body if reveal else masked(body).encode("utf-8"))
        return sorted(bodies)

    _decide("export", seq, fingerprint, act, reveal, dry_run=dry_run)

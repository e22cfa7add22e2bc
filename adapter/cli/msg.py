"""`chartbridge msg`: what came in, where it stands, and sending it round again."""

import asyncio
import getpass
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapter.cli.console import OPTIONS, emit, emit_list, progress
from adapter.errors import UsageError

if TYPE_CHECKING:
    from adapter.inbound.journal import JournalReader
    from adapter.inbound.journal_table import Row
    from adapter.site import Site
    from adapter.store.messages import MessageState

app = typer.Typer(no_args_is_help=True, help="Messages: what came in, where it stands, sending it round again.")

COLUMNS = ("seq", "received", "feed", "state", "attempt", "code", "fingerprint")


@asynccontextmanager
async def _opened() -> AsyncIterator[tuple["Site", "JournalReader"]]:
    from adapter.inbound.journal import JournalReader
    from adapter.settings import find_site
    from adapter.site import open_site

    async with open_site(find_site(OPTIONS.site)) as site:
        journal = JournalReader(site.journal_path, site.settings.node.pairing, site.keyring, readers=1)
        try:
            yield site, journal
        finally:
            await journal.close()


def _described(row: "Row", state: "MessageState | None") -> dict[str, Any]:
    return {
        "seq": row.seq,
        "received": row.at.isoformat(timespec="seconds"),
        "feed": row.feed,
        "state": state.state if state is not None else row.state,
        "attempt": state.attempt if state is not None else 1,
        "code": (state.code if state is not None else None) or " ".join(row.issues),
        "fingerprint": (state.fingerprint if state is not None else None) or "",
    }


@app.command("list")
def list_messages(
    state: Annotated[str, typer.Option(help="Only messages in this state.")] = "",
    feed: Annotated[str, typer.Option(help="Only messages of this feed.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 50,
) -> None:
    """Messages, newest first, with their states; no content."""
    from adapter.store import messages

    async def run() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        async with _opened() as (site, journal):
            before = None
            while len(found) < limit and (rows := await journal.listing(500, before, feed or None)):
                before = rows[-1].seq
                states = await site.store.read(
                    lambda conn, rows=rows: {row.seq: messages.state(conn, site.org, row.seq) for row in rows}  # type: ignore[misc]
                )
                described = [_described(row, states[row.seq]) for row in rows]
                found += [one for one in described if not state or one["state"] == state]
        return found[:limit]

    emit_list("chartbridge.msg/1", asyncio.run(run()), COLUMNS)


@app.command()
def show(
    seq: Annotated[int, typer.Argument(help="The message's number.")],
    reveal: Annotated[str, typer.Option(help="Show the content too; the reason is recorded on the ledger.")] = "",
) -> None:
    """One message: every state it was in, who moved it and why."""
    from datetime import UTC, datetime

    from adapter.operators import record
    from adapter.store import messages

    async def run() -> tuple[dict[str, Any], bytes]:
        async with _opened() as (site, journal):
            row = await journal.row(seq)
            found = await site.store.read(lambda conn: messages.state(conn, site.org, seq))
            steps = await site.store.read(lambda conn: messages.transitions(conn, site.org, seq))
            body = b""
            if reveal:
                await record(site, getpass.getuser(), "msg.reveal", f"{seq} {reveal}")
                body = await journal.body(row)
        history = [
            {
                "at": datetime.fromtimestamp(step.at / 1000, UTC).isoformat(timespec="milliseconds"),
                "from": step.from_state,
                "to": step.to_state,
                "who": step.who,
                "why": step.why,
                "took_us": step.took_us,
            }
            for step in steps
        ]
        return _described(row, found) | {"ack": (row.ack or "").split(" ")[0], "history": history}, body

    value, body = asyncio.run(run())
    text = [f"{key:<12}{value[key]}" for key in (*COLUMNS, "ack")]
    text += [f"{one['at']}  {one['from']} → {one['to']}  {one['who']}  {one['why']}" for one in value["history"]]
    if reveal:
        value["content"] = body.decode("utf-8", "replace")
        text.append(value["content"].replace("\r", "\n"))
    emit("chartbridge.msg.show/1", value, "\n".join(text))


@app.command()
def replay(
    seq: Annotated[list[int] | None, typer.Argument(help="Numbers of messages.")] = None,
    fingerprint: Annotated[str, typer.Option(help="All quarantined messages of one error group.")] = "",
    why: Annotated[str, typer.Option(help="Why, for the history.")] = "replay",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which messages would go round again.")] = False,
) -> None:
    """Send messages round again, oldest first, with those held behind them. A running `serve` takes them up."""
    from adapter import operators

    if bool(seq) == bool(fingerprint):
        raise UsageError("name messages, or a fingerprint", hint="chartbridge msg list --state quarantined")

    async def run() -> list[int]:
        async with _opened() as (site, journal):
            chosen = seq or await operators.by_fingerprint(site, fingerprint)
            if dry_run or not chosen:
                return await operators.waiting(site, journal, chosen)
            return await operators.replay(site, journal, chosen, getpass.getuser(), why)

    sent = asyncio.run(run())
    if dry_run:
        progress("nothing was changed")
    emit("chartbridge.msg.replay/1", {"messages": sent, "dry_run": dry_run}, " ".join(map(str, sent)) or "none")

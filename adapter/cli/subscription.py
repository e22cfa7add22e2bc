"""`chartbridge subscription`: who listens, what could not be told, and sending it again."""

import asyncio
import getpass
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from adapter.cli.console import OPTIONS, emit, emit_list, progress, shown
from adapter.errors import UsageError

app = typer.Typer(no_args_is_help=True, help="Subscriptions: who listens, and what could not be told.")

COLUMNS = ("subscription", "client", "topic", "status", "told", "waiting", "dead", "tries", "failing")
DEAD = ("event", "subscription", "type", "at", "tries", "why")

Number = Annotated[int, typer.Option("--subscription", min=0, help="Only of the subscription with this number.")]


@app.command("list")
def list_subscriptions() -> None:
    """Subscriptions with their client, topic and state; no patient, no address."""
    from adapter.settings import find_site
    from adapter.site import open_site
    from adapter.store import subscriptions

    async def run() -> list[dict[str, Any]]:
        async with open_site(find_site(OPTIONS.site)) as site:
            found = await site.store.read(lambda conn: subscriptions.every(conn, site.org))
        return [
            {
                "subscription": one.rid,
                "client": one.client,
                "topic": one.topic,
                "status": one.status,
                "told": one.events,
                "waiting": waiting,
                "dead": dead,
                "tries": one.tries,
                "failing": _time(one.failing_since),
            }
            for one, waiting, dead in found
        ]

    emit_list("chartbridge.subscription/1", asyncio.run(run()), COLUMNS)


@app.command()
def dead(subscription: Number = 0) -> None:
    """Notifications that were given up, oldest first, with the reason of the last try; no content."""
    from adapter.settings import find_site
    from adapter.site import open_site
    from adapter.store import subscriptions

    async def run() -> list[dict[str, Any]]:
        async with open_site(find_site(OPTIONS.site)) as site:
            found = await site.store.read(lambda conn: subscriptions.dead(conn, site.org, subscription or None))
        return [
            {
                "event": str(uuid.UUID(bytes=one.id)),
                "subscription": one.subscription,
                "type": one.type,
                "at": _time(one.at),
                "tries": one.tries,
                "why": one.dead,
            }
            for one in found
        ]

    emit_list("chartbridge.subscription.dead/1", asyncio.run(run()), DEAD)


@app.command()
def replay(
    event: Annotated[list[str] | None, typer.Argument(help="Events, as `subscription dead` lists them.")] = None,
    subscription: Number = 0,
    why: Annotated[str, typer.Option(help="Why, for the ledger.")] = "replay",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which events it would be.")] = False,
) -> None:
    """Owe dead letters again, under their old ids; a subscription in error begins anew with its handshake."""
    from adapter.notices.replay import chosen, revive
    from adapter.settings import find_site
    from adapter.site import open_site

    if bool(event) == bool(subscription):
        raise UsageError("name events, or a subscription", hint="chartbridge subscription dead")

    async def run() -> list[str]:
        async with open_site(find_site(OPTIONS.site)) as site:
            found = await chosen(site, event or [], subscription or None)
            if found and not dry_run:
                await revive(site, found, getpass.getuser(), why)
            return [str(uuid.UUID(bytes=one.id)) for one in found]

    events = asyncio.run(run())
    if dry_run:
        progress("nothing was changed")
    text = " ".join(events) or "none"
    emit("chartbridge.subscription.replay/1", {"events": events, "dry_run": dry_run}, text)


def _time(at: int | None) -> str:
    return "" if at is None else shown(datetime.fromtimestamp(at / 1000, UTC))

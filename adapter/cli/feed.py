"""`chartbridge feed`: feeds as files."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from adapter.cli.console import OPTIONS, emit, emit_list

app = typer.Typer(no_args_is_help=True, help="Feeds as files: list them, apply a new or changed one.")


@app.command("list")
def list_feeds() -> None:
    """The feeds of this site, with the revision of their files."""
    from adapter.inbound.feed import load_feeds
    from adapter.settings import find_site, load

    folder = find_site(OPTIONS.site)
    feeds = load_feeds(folder, load(folder).node.org)
    rows = [
        {
            "feed": feed.name,
            "state": feed.state,
            "kind": feed.listen.kind,
            "port": feed.listen.port if feed.listen.kind == "mllp" else "",
            "profile": feed.profile,
            "revision": feed.revision,
        }
        for feed in feeds.values()
    ]
    emit_list("chartbridge.feed/1", rows, ("feed", "state", "kind", "port", "profile", "revision"))


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(help="A feed's TOML file.")],
    author: Annotated[str, typer.Option(help="Who applies it, for the ledger.")] = "",
) -> None:
    """Check a feed with its profile, record the act on the ledger, put the file in place; `serve` reads it at start."""
    from adapter.operators import apply_feed
    from adapter.settings import find_site
    from adapter.site import open_site

    async def run() -> tuple[str, str, str]:
        async with open_site(find_site(OPTIONS.site)) as site:
            feed, ref = await apply_feed(site, file, author or _user())
            return feed.name, feed.revision, ref

    name, revision, ref = asyncio.run(run())
    value = {"feed": name, "revision": revision, "entry": ref}
    emit("chartbridge.feed.apply/1", value, f"feed {name} at revision {revision}, recorded as {ref}; restart serve")


def _user() -> str:
    import getpass

    return getpass.getuser()

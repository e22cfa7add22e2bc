"""`chartbridge keys`: which keys a site has, without showing one."""

import typer

from adapter.cli.console import OPTIONS, emit_list

app = typer.Typer(no_args_is_help=True, help="The keys of a site: names, ids, file modes. Never the keys.")


@app.callback()
def group() -> None:
    """Keeps `list` a verb of its own while it is the only one."""


@app.command("list")
def list_keys() -> None:
    """Key files with kind, id and mode; the organisation's wrapped keys."""
    import asyncio

    from adapter.key_list import list_keys as found
    from adapter.settings import find_site

    rows = asyncio.run(found(find_site(OPTIONS.site)))
    emit_list("chartbridge.keys/1", rows, ("key", "kind", "id", "where", "mode", "state"))

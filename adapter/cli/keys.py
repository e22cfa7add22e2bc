"""`chartbridge keys`: which keys a site has, without showing one; and another key to wrap them with."""

from typing import Annotated

import typer

from adapter.cli.console import OPTIONS, emit, emit_list

app = typer.Typer(no_args_is_help=True, help="The keys of a site: names, ids, file modes. Never the keys.")


@app.command("list")
def list_keys() -> None:
    """Key files with kind, id and mode; the organisation's wrapped keys."""
    import asyncio

    from adapter.key_list import list_keys as found
    from adapter.settings import find_site

    rows = asyncio.run(found(find_site(OPTIONS.site)))
    emit_list("chartbridge.keys/1", rows, ("key", "kind", "id", "where", "mode", "state"))


@app.command()
def rotate(
    to: Annotated[str, typer.Option("--to", help="PKCS#11 URI of a key in a token; without it a new key file.")] = "",
) -> None:
    """Wrap every key of the site with a new key, while the node serves. Run again, it goes on where it was."""
    import asyncio
    import getpass
    from dataclasses import asdict

    from adapter.key_acts import rotate as turn
    from adapter.settings import find_site

    done = asyncio.run(turn(find_site(OPTIONS.site), to, getpass.getuser()))
    wrapped = "by the running node" if done.count is None else f"{done.count} keys"
    emit("chartbridge.keys.rotate/1", asdict(done), f"{done.old} → {done.new}: wrapped again, {wrapped}")

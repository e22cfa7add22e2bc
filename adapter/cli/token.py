"""`chartbridge token`: access tokens for registered clients."""

import os
from typing import Annotated

import typer

from adapter.cli.console import OPTIONS, emit

app = typer.Typer(no_args_is_help=True, help="Access tokens for registered clients.")


@app.callback()
def group() -> None:
    """Keeps `issue` a verb of its own while it is the only one."""


@app.command()
def issue(
    client: Annotated[str, typer.Argument(help="ID of an [access.client.ID] table.")],
    scope: Annotated[str, typer.Option(help="SMART v2 scopes, a part of the client's; empty: all of them.")] = "",
    purpose: Annotated[list[str] | None, typer.Option(help="Purpose of use, one of the client's.")] = None,
    seconds: Annotated[int | None, typer.Option(min=1, max=3600, help="Life of the token.")] = None,
) -> None:
    """Issue a token to one client and print it."""
    from adapter.access.grant import grant
    from adapter.access.token import issue as sign
    from adapter.access.token import load as load_key
    from adapter.services import base_url
    from adapter.settings import find_site, load
    from adapter.site import now

    folder = find_site(OPTIONS.site)
    settings = load(folder)
    given = grant(settings.access, client, scope, tuple(purpose or ()))
    life_s = seconds or settings.access.token_s
    key = load_key(folder / settings.keys.token_file)
    token = sign(key, given, audience=base_url(settings), life_s=life_s, now=now(), entropy=os.urandom)
    emit("chartbridge.token/1", {"token": token, "expires_in": life_s, "scope": given.scope}, token)

"""The options that verbs of `map` share: which messages, by which profile."""

import asyncio
import getpass
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adapter.cli.console import OPTIONS
from adapter.errors import UsageError

if TYPE_CHECKING:
    from adapter.mapping_input import Input
    from mappings.profile import Profile

ProfileOption = Annotated[str, typer.Option("--profile", help="A shipped profile's name, or a profile folder.")]
Files = Annotated[list[Path] | None, typer.Argument(help="HL7 v2 files, or folders of them.")]
Feed = Annotated[str, typer.Option(help="Instead of files: what this feed received. The act is recorded.")]
Since = Annotated[str, typer.Option(help="Of a feed: only what came since then: ISO, or 2h, 3d ago.")]
Limit = Annotated[int, typer.Option(min=1, max=1_000_000, help="Of a feed: how many, the newest.")]


def inputs(files: list[Path] | None, feed: str, since: str = "", limit: int = 1_000) -> Iterable["Input"]:
    """The messages that a verb is asked about. Raises UsageError where none, or both kinds, are named."""
    from adapter.mapping_input import from_feed, from_files

    if bool(files) == bool(feed):
        raise UsageError("name files, or a feed", hint="chartbridge map unmapped --feed main")
    if files:
        return from_files(files)

    async def run() -> "list[Input]":
        from datetime import datetime

        from adapter.ledger_view import moment
        from adapter.settings import find_site
        from adapter.site import open_site

        start = datetime.fromisoformat(moment(since)) if since else None
        async with open_site(find_site(OPTIONS.site)) as site:
            return await from_feed(site, feed, start, limit, getpass.getuser())

    return asyncio.run(run())


def profile_for(profile: str, feed: str) -> "Profile":
    """The profile that was named, else the feed's own, else the default one."""
    from adapter.mapping_input import profile_of
    from adapter.profiles import read_profile, site_profile
    from adapter.settings import find_site, load

    if profile or not feed:
        return read_profile(named(profile or "default"))
    site = find_site(OPTIONS.site)
    return site_profile(site, profile_of(site, load(site).node.org, feed))


def named(profile: str) -> str | Path:
    """A profile by its folder, by its name in the site, if there is one, or by a shipped name."""
    from adapter.profiles import find_profile

    if (Path(profile) / "profile.toml").is_file() or Path(profile).name == "profile.toml":
        return profile
    site = here()
    return profile if site is None else find_profile(site, profile)


def here() -> Path | None:
    """The site's folder; None where there is none, and none was named."""
    from adapter.errors import ConfigurationError
    from adapter.settings import find_site

    try:
        return find_site(OPTIONS.site)
    except ConfigurationError:
        if OPTIONS.site is not None:
            raise
        return None

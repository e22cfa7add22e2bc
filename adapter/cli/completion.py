"""What a shell offers while a command is typed: names of this site's feeds. Nothing is opened, and nothing fails."""

import tomllib

from adapter.errors import ConfigurationError


def feeds(incomplete: str) -> list[str]:
    """Names of feeds that begin so."""
    from adapter.cli.console import OPTIONS
    from adapter.settings import find_site

    try:
        files = sorted((find_site(OPTIONS.site) / "feeds").glob("*.toml"))
        names = [str(tomllib.loads(file.read_text("utf-8")).get("feed", "")) for file in files]
    except (ConfigurationError, OSError, ValueError):
        return []
    return [name for name in names if name.startswith(incomplete) and name]

"""The roles of a site, and what a site must be so that each can run in a process of its own, any number of times.

Roles share nothing but the database and the site's folder, of which they read the configuration and the keys. So every
store must be one that several processes write: none may be a file. Source: architecture §5; operations chapter §2.
"""

from enum import StrEnum
from pathlib import Path

from adapter.data_place import data_place, log_place, vault_place
from adapter.errors import ConfigurationError
from adapter.journals import DATABASE
from adapter.settings import Settings


class Role(StrEnum):
    """What one process does of a site."""

    API = "api"
    MLLP = "mllp"
    WORKER = "worker"
    ANCHOR = "anchor"


def check_shared(folder: Path, settings: Settings) -> None:
    """Raises ConfigurationError for a site of which a store is a file."""
    files = {
        "data store": isinstance(data_place(folder, settings), Path),
        "journal": settings.store.journal_place != DATABASE,
        "log": isinstance(log_place(folder, settings), Path),
        "vault": isinstance(vault_place(folder, settings), Path),
    }
    if named := [name for name, is_file in files.items() if is_file]:
        verb = "is a file" if len(named) == 1 else "are files"
        raise ConfigurationError(
            f"{', '.join(named)} of this site {verb}, so one process serves it all",
            hint="chartbridge serve; docs/postgres.md",
        )

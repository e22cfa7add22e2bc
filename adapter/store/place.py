"""Where a data store lies: a file, or a database of a PostgreSQL server."""

from dataclasses import dataclass, field
from pathlib import Path

RESTORE = "restore data, journal, vault and log of one site together; nothing was changed"


@dataclass(frozen=True, slots=True)
class Server:
    """A PostgreSQL database. The URL holds a password: no text that we make shows it."""

    url: str = field(repr=False)
    connections: int = 8  # of one process


Place = Path | Server

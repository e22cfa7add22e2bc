"""Where a data store lies."""

from pathlib import Path

RESTORE = "restore data, journal, vault and log of one site together; nothing was changed"

Place = Path

"""Where a site's data store lies, by its settings: its file, or the PostgreSQL database whose URL stands in a file of
mode 0600 or in the environment. The URL holds a password, so it stands nowhere else. Source: operations chapter §2.
"""

import stat
from pathlib import Path

from adapter.errors import ConfigurationError
from adapter.settings import Settings
from adapter.store.place import Place, Server


def data_place(folder: Path, settings: Settings) -> Place:
    """Raises ConfigurationError for a file that cannot be read, or that others can."""
    store = settings.store
    url = store.url.get_secret_value() or (_read(folder / store.url_file) if store.url_file else "")
    return Server(url, store.connections) if url else folder / store.path


def _read(path: Path) -> str:
    try:
        mode, url = path.stat().st_mode, path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not UTF-8"
        raise ConfigurationError(f"store.url_file cannot be read: {reason}", hint="docs/postgres.md") from exc
    if stat.S_IMODE(mode) & 0o077:
        raise ConfigurationError("store.url_file is open to others", hint=f"chmod 600 {path.name}")
    if not url.startswith(("postgresql://", "postgres://", "postgresql+asyncpg://")):
        raise ConfigurationError("store.url_file holds no postgresql:// URL", hint="docs/postgres.md")
    return url

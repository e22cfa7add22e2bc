"""Where a site's stores lie, by its settings: their files, or PostgreSQL databases whose URLs stand in files of mode
0600 or in the environment. A URL holds a password, so it stands nowhere else. Source: operations chapter §2.
"""

import stat
from pathlib import Path

from pydantic import SecretStr

from adapter.errors import ConfigurationError
from adapter.settings import Settings
from adapter.store.place import Place, Server

LEDGER_CONNECTIONS = 4  # of one process, to the log's database and to the vault's: one writes at a time


def data_place(folder: Path, settings: Settings) -> Place:
    """Raises ConfigurationError for a file that cannot be read, or that others can."""
    store = settings.store
    url = _url(folder, "store", store.url, store.url_file)
    return Server(url, store.connections) if url else folder / store.path


def log_place(folder: Path, settings: Settings) -> Place:
    """The same for the log."""
    url = _url(folder, "ledger", settings.ledger.url, settings.ledger.url_file)
    return Server(url, LEDGER_CONNECTIONS) if url else folder / settings.ledger.path


def vault_place(folder: Path, settings: Settings) -> Place:
    """The same for the vault."""
    url = _url(folder, "vault", settings.vault.url, settings.vault.url_file)
    return Server(url, LEDGER_CONNECTIONS) if url else folder / settings.vault.path


def _url(folder: Path, section: str, url: SecretStr, file: Path | None) -> str:
    return url.get_secret_value() or (_read(folder / file, f"{section}.url_file") if file else "")


def _read(path: Path, setting: str) -> str:
    try:
        mode, url = path.stat().st_mode, path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not UTF-8"
        raise ConfigurationError(f"{setting} cannot be read: {reason}", hint="docs/postgres.md") from exc
    if stat.S_IMODE(mode) & 0o077:
        raise ConfigurationError(f"{setting} is open to others", hint=f"chmod 600 {path.name}")
    if not url.startswith(("postgresql://", "postgres://", "postgresql+asyncpg://")):
        raise ConfigurationError(f"{setting} holds no postgresql:// URL", hint="docs/postgres.md")
    return url

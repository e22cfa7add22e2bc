"""What keys a site has: files with their modes, the organisation's wrapped keys in the vault. Ids only, never a key.

Source: ARCHITECTURE §6; ledger chapter §16.
"""

import stat
from collections.abc import Callable
from pathlib import Path

from adapter.access import token
from adapter.errors import ChartbridgeError
from adapter.kek_files import load_kek
from adapter.ledger_stores import origin
from adapter.ledger_view import viewing
from adapter.settings import load
from ledger.errors import LedgerError
from ledger.keys import load_log_key

Row = dict[str, str]
OPEN_TO_OTHERS = 0o077


def mode_of(path: Path) -> str:
    """The file's mode in octal; "" where there is no file."""
    return f"{stat.S_IMODE(path.stat().st_mode):04o}" if path.exists() else ""


def key_files(folder: Path) -> list[Row]:
    """The three files. `state` says what is wrong with one, or ok."""
    settings = load(folder)
    keys = settings.keys

    def log_id(path: Path) -> str:
        return load_log_key(path, origin(settings)).key_id.hex()

    def token_id(path: Path) -> str:
        return token.load(path).key.thumbprint()[:16]

    readers: dict[str, tuple[str, Path, Callable[[Path], str]]] = {
        "kek": ("AES-256, wraps keys", keys.kek_file, lambda path: load_kek(path).id),
        "log": ("Ed25519, signs checkpoints", keys.log_file, log_id),
        "token": ("ES256, signs tokens", keys.token_file, token_id),
    }
    rows = []
    for name, (kind, file, read) in readers.items():
        path = folder / file
        row = {"key": name, "kind": kind, "id": "", "where": str(file), "mode": mode_of(path), "state": "ok"}
        try:
            row["id"] = read(path)
        except (ChartbridgeError, LedgerError) as exc:
            row["state"] = str(exc)
        rows.append(row)
    return rows


async def list_keys(folder: Path) -> list[Row]:
    """Files, then what the vault holds for the organisation."""
    rows = key_files(folder)
    async with viewing(folder) as view:
        wrapped = await view.vault.org_keys(view.settings.node.org)
        subjects = await view.vault.present(view.settings.node.org)
        by = await view.vault.wrapped_by(view.settings.node.org)
    for kind, key in sorted(wrapped.items()):
        rows.append(_vaulted(kind, f"under {key.kek_id}"))
    rows.append(_vaulted("subjects", f"{len(subjects)} rows"))
    rows += [_vaulted("all", f"{count} under {kek_id}") for kek_id, count in by.items()]
    return rows


def _vaulted(name: str, state: str) -> Row:
    return {"key": name, "kind": "AES-256, wrapped", "id": "", "where": "vault", "mode": "", "state": state}

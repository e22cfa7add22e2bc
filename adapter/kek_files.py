"""The key files of a site: which key wraps now, which one wrapped before, and how one takes the other's place.

    keys/kek          the key, or the URI of a key in a token
    keys/kek.next     while a rotation is under way: what wraps from now on
    keys/kek-<id>     what wrapped before; backups of the vault may still need it

`Keks` is what the keyring holds: it wraps with the newest and unwraps with whichever a row names. A key that it does
not know is looked for in the folder again, for another process may have put it there. What a rotation does with the
vault is `rotation.py`'s. Source: architecture §6 (KEK, versioned); ledger chapter §16.
"""

import os
from collections.abc import Callable
from pathlib import Path

from adapter.errors import ConfigurationError
from adapter.files import sync_folder, write_private
from adapter.seal.kek import Entropy, Kek, Wrapping, read_private
from adapter.seal.pkcs11_kek import SCHEME, open_kek

Step = Callable[[str], None]


def load_kek(path: Path) -> Wrapping:
    """The key of a file, or of the token that the file names. Raises ConfigurationError, Unavailable."""
    text = read_private(path)
    return open_kek(text, path.parent) if text.startswith(SCHEME) else Kek.of(text, path.name)


class Keks:
    """The keys of a site by id. All of it may be asked from any thread."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigurationError, Unavailable."""
        self._path = path
        self._known: dict[str, Wrapping] = {}
        self._newest = self._load(path)
        self.look()

    @property
    def coming(self) -> Path:
        """The file that stands while a rotation is under way."""
        return self._path.with_name(f"{self._path.name}.next")

    @property
    def id(self) -> str:
        return self._newest.id

    def current(self) -> Wrapping:
        """The key to wrap with."""
        return self._newest

    def look(self) -> bool:
        """Whether a rotation is under way; its key wraps from here on."""
        try:
            self._newest = self._load(self.coming)
        except ConfigurationError:
            if self.coming.exists():
                raise
            return False
        return True

    def stands(self) -> Wrapping:
        """The key of the key file itself, which a rotation replaces."""
        return self._load(self._path)

    def unwrap(self, org: str, kind: str, row: bytes, gen: int, kek_id: str, wrapped: bytes) -> bytes:
        """The key, by whichever of ours wrapped it. Raises IntegrityFault."""
        return self._find(kek_id).unwrap(org, kind, row, gen, kek_id, wrapped)

    def _find(self, kek_id: str) -> Wrapping:
        known = self._known.get(kek_id)
        if known is not None:
            return known
        for path in (self._path, self.coming, self._before(kek_id)):
            if path.exists() and (found := self._load(path)).id == kek_id:
                return found
        return self._newest  # which says what is wrong

    def _load(self, path: Path) -> Wrapping:
        kek = load_kek(path)
        return self._known.setdefault(kek.id, kek)

    def _before(self, kek_id: str) -> Path:
        return self._path.with_name(f"{self._path.name}-{kek_id}")

    def begin(self, uri: str, entropy: Entropy = os.urandom) -> Wrapping:
        """Put the next key in place: a new one, or with a URI the token's. Of one under way nothing is changed.

        Raises ConfigurationError where the next key is the one that stands.
        """
        if not self.coming.exists():
            part = self.coming.with_name(f".{self.coming.name}.part")
            part.unlink(missing_ok=True)
            if uri:
                write_private(part, f"{uri}\n".encode("ascii", "replace"))
            else:
                Kek.generate(part, entropy)
            try:
                if load_kek(part).id == self.stands().id:
                    raise ConfigurationError("this is the key that wraps already", hint="name another")
                part.rename(self.coming)
            finally:
                part.unlink(missing_ok=True)
            sync_folder(self.coming.parent)
        self.look()
        return self._newest

    def finish(self, step: Step) -> None:
        """Let the next key take the place of the one that stands, which is kept beside it. May be done twice."""
        kept = self._before(self.stands().id)
        try:
            kept.hardlink_to(self._path)
        except FileExistsError:
            pass
        step("rotate.kept")
        self.coming.replace(self._path)
        sync_folder(self._path.parent)

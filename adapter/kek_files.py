"""The key files of a site: which key wraps now, which one wrapped before, and how one takes the other's place.

    keys/kek          the key, or the URI of a key in a token
    keys/kek.next     while a rotation is under way: what wraps from now on
    keys/kek-<id>     what wrapped before; backups of the vault may still need it

`Keks` is what the keyring holds: it wraps with the newest and unwraps with whichever a row names. A key that it does
not know is looked for in the folder again, for another process may have put it there. Whoever looks rarely may miss the
whole life of `kek.next`: then `keys/kek` says something else than before, and that wraps from there on.

Nobody wraps with a key that was not looked for in the last moment: a rotation can wait until every process has. Where
the folder cannot be seen nothing is wrapped, for who else could unwrap it?

Who changes the files holds a lock beside them and looks whether another process was quicker. What a rotation does with
the vault is `rotation.py`'s.

Source: architecture §6 (KEK, versioned); ledger chapter §16.
"""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from adapter import lock
from adapter.errors import ConfigurationError, Unavailable
from adapter.files import sync_folder, write_private
from adapter.seal.kek import Entropy, Kek, Wrapping, read_private
from adapter.seal.pkcs11_kek import SCHEME, open_kek

Step = Callable[[str], None]

LOOKED_S = 1.0  # how long what was seen in the folder is believed
RESTORE = "restore the key file; without it nothing opens"


def load_kek(path: Path) -> Wrapping:
    """The key of a file, or of the token that the file names. Raises ConfigurationError, Unavailable."""
    return _opened(read_private(path), path)


def _opened(text: str, path: Path) -> Wrapping:
    return open_kek(text, path.parent) if text.startswith(SCHEME) else Kek.of(text, path.name)


def _text(path: Path) -> str | None:
    """What a key file says; None where there is none. Raises ConfigurationError."""
    try:
        return read_private(path)
    except ConfigurationError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise


class Keks:
    """The keys of a site by id. All of it may be asked from any thread."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigurationError, Unavailable."""
        self._path = path
        self._known: dict[str, Wrapping] = {}
        self._said: dict[str, Wrapping] = {}  # by what a key file said, so that looking again asks no token
        self._newest = self._load(path)
        self._looked = 0.0
        self.look()

    @property
    def coming(self) -> Path:
        """The file that stands while a rotation is under way."""
        return self._path.with_name(f"{self._path.name}.next")

    @property
    def _part(self) -> Path:
        return self.coming.with_name(f".{self.coming.name}.part")

    @property
    def _lock(self) -> Path:
        """Never replaced, unlike what it guards."""
        return self._path.with_name(f".{self._path.name}.lock")

    @property
    def id(self) -> str:
        return self._newest.id

    @property
    def remote(self) -> bool:
        """Whether it takes a device to use the key."""
        return self._newest.remote

    def current(self) -> Wrapping:
        """The key to wrap with. Raises Unavailable where the key files cannot be seen."""
        if time.monotonic() - self._looked > LOOKED_S:
            try:
                self.look()
            except ConfigurationError as error:
                raise Unavailable(f"no key wraps now: {error.text}", hint=error.hint) from error
        return self._newest

    def look(self) -> bool:
        """Whether a rotation is under way; its key wraps from here on, without one that of the key file.

        Raises ConfigurationError, Unavailable.
        """
        now = time.monotonic()
        coming = self._seen(self.coming)  # first: where it took its place meanwhile, it is found there
        newest = coming or self._seen(self._path)
        if newest is None:
            raise ConfigurationError(f"key file {self._path.name} is not there", hint=RESTORE)
        self._newest, self._looked = newest, now
        return coming is not None

    def _seen(self, path: Path) -> Wrapping | None:
        text = _text(path)
        if text is None:
            return None
        if text not in self._said:
            self._said[text] = self._learn(_opened(text, path))
        return self._said[text]

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
        for path in (self.coming, self._path, self._before(kek_id)):  # as a key moves: none is missed on its way
            text = _text(path)
            if text is not None and (found := self._learn(_opened(text, path))).id == kek_id:
                return found
        return self._newest  # which says what is wrong

    def _load(self, path: Path) -> Wrapping:
        return self._learn(load_kek(path))

    def _learn(self, kek: Wrapping) -> Wrapping:
        return self._known.setdefault(kek.id, kek)

    def _before(self, kek_id: str) -> Path:
        return self._path.with_name(f"{self._path.name}-{kek_id}")

    def begin(self, uri: str, entropy: Entropy = os.urandom) -> Wrapping:
        """Put the next key in place: a new one, or with a URI the token's. Of one under way nothing is changed.

        Raises ConfigurationError where the next key is the one that stands; Unavailable.
        """
        with ExitStack() as stack:
            stack.callback(lock.keys(self._lock))
            if not self.coming.exists():
                self._put(uri, entropy)
        self.look()
        return self._newest

    def _put(self, uri: str, entropy: Entropy) -> None:
        part = self._part
        part.unlink(missing_ok=True)
        if uri:
            write_private(part, f"{uri}\n".encode("ascii", "replace"))
        else:
            Kek.generate(part, entropy)
        try:
            if load_kek(part).id == self.stands().id:
                raise ConfigurationError("this is the key that wraps already", hint="name another")
            with suppress(FileExistsError):  # another process began: its key wraps already and stays
                self.coming.hardlink_to(part)
        finally:
            part.unlink(missing_ok=True)
        sync_folder(self.coming.parent)

    def finish(self, old: str, step: Step) -> None:
        """Let the next key take the place of `old`, which is kept beside it. Where that stands no longer it is done.

        Raises ConfigurationError, Unavailable.
        """
        with ExitStack() as stack:
            stack.callback(lock.keys(self._lock))
            if self.stands().id != old:
                return
            with suppress(FileExistsError):
                self._before(old).hardlink_to(self._path)
            step("rotate.kept")
            with suppress(FileNotFoundError):  # a file system without locks: another process was quicker
                self.coming.replace(self._path)
            self._part.unlink(missing_ok=True)  # of who was killed when the rotation began
            sync_folder(self._path.parent)

"""A key that wraps keys and never leaves its token: an HSM, or anything else that speaks PKCS#11.

The key file names it by an RFC 7512 URI instead of holding it:

    pkcs11:token=hospital;object=chartbridge-2026?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=kek.pin

`pin-source` is a file of mode 0600, beside the key file unless it says where; a PIN never stands in the URI. The token
encrypts and decrypts (CKM_AES_GCM, a key of 256 bits), so what is wrapped is the same bytes as with a key in a file.
Its id is a digest of what the key makes of nothing: two tokens that hold copies of one key agree on it, and a label
that was given to another key does not.

A session is one for a process, as PKCS#11 has its logins; a lock lets one call in at a time. A token that does not
answer is Unavailable, and asked anew the next time; a tag that is wrong while the token still knows its key is a
matter of integrity.

Source: PKCS#11 v2.40 §2.12.7 (AES-GCM), RFC 7512 (URI); architecture §6.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar
from urllib.parse import unquote

from cryptography.exceptions import InvalidTag

from adapter.errors import ConfigurationError, Unavailable
from adapter.seal.kek import KEY_BYTES, NONCE_BYTES, Wrapping, read_private

if TYPE_CHECKING:
    from pkcs11 import Session

AesKey: TypeAlias = Any  # its methods are chosen at run time, by what the token says the key may do

T = TypeVar("T")

SCHEME = "pkcs11:"
KNOWN = frozenset({"token", "object", "module-path", "pin-source"})
_TAG_BITS = 128
_PROBE_NONCE = bytes(NONCE_BYTES)  # of the id alone; a random one is never this one but once in 2⁹⁶
_PROBE = b"chartbridge kek id v1"


@dataclass(frozen=True, slots=True)
class Pkcs11Uri:
    """Where a key is: by token, label of the key, library and file of the PIN."""

    token: str
    object: str
    module_path: str
    pin_source: str

    @classmethod
    def parse(cls, text: str) -> "Pkcs11Uri":
        """Raises ConfigurationError, which never repeats the URI: somebody may have put a PIN in."""
        path, _, query = text.removeprefix(SCHEME).partition("?")
        pairs = [part.partition("=") for part in [*path.split(";"), *query.split("&")] if part]
        values = {name: unquote(value) for name, _, value in pairs}
        if len(values) != len(pairs) or values.keys() != KNOWN or not all(values.values()):
            raise ConfigurationError(
                "the PKCS#11 URI of the key file needs token, object, module-path and pin-source, once and no more",
                hint="pkcs11:token=…;object=…?module-path=…&pin-source=…",
            )
        source = values["pin-source"].removeprefix("file:")
        return cls(values["token"], values["object"], values["module-path"], source)


class _Token:
    """The key behind a URI, logged in when it is first needed and again after a fault. AES-GCM as `Cipher` wants it."""

    def __init__(self, uri: Pkcs11Uri, folder: Path) -> None:
        self._uri, self._folder = uri, folder
        self._lock = Lock()
        self._key: AesKey | None = None
        self.id = ""
        self.id = self._call(self._identity)

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        return self._call(lambda key: _encrypt(key, nonce, data, associated_data or b""))

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """Raises InvalidTag, for which tokens have no one error: so the key is asked whether it is still itself."""
        try:
            return self._call(lambda key: _decrypt(key, nonce, data, associated_data or b""))
        except Unavailable as exc:
            if self._call(self._identity) == self.id:
                raise InvalidTag from exc
            raise

    def _identity(self, key: AesKey) -> str:
        probe = _encrypt(key, _PROBE_NONCE, b"", _PROBE)
        return hashlib.sha256(b"chartbridge kek pkcs11 v1\0" + probe).hexdigest()[:16]

    def _call(self, work: Callable[[AesKey], T]) -> T:
        from pkcs11.exceptions import PKCS11Error

        with self._lock:
            try:
                if self._key is None:
                    key = self._open()
                    if self.id and self._identity(key) != self.id:
                        raise ConfigurationError("the token holds another key under this label", hint=self._hint)
                    self._key = key
                return work(self._key)
            except PKCS11Error as exc:
                self._key = None
                raise Unavailable(f"the token cannot be used now: {type(exc).__name__}", hint=self._hint) from exc

    @property
    def _hint(self) -> str:
        return f"token {self._uri.token}, key {self._uri.object}"

    def _open(self) -> AesKey:
        """Raises ConfigurationError for what is not there, PKCS11Error for what does not answer."""
        from pkcs11 import KeyType, ObjectClass, PKCS11Error, exceptions

        try:
            session = self._session()
            key: AesKey = session.get_key(ObjectClass.SECRET_KEY, KeyType.AES, label=self._uri.object)
        except exceptions.NoSuchToken as exc:
            raise ConfigurationError("there is no such token", hint=self._hint) from exc
        except exceptions.NoSuchKey as exc:
            raise ConfigurationError("the token has no such AES key", hint=self._hint) from exc
        except exceptions.MultipleObjectsReturned as exc:
            raise ConfigurationError("the token has several keys of this label", hint=self._hint) from exc
        except (exceptions.PinIncorrect, exceptions.PinLocked) as exc:
            raise ConfigurationError("the token refuses the PIN", hint=self._hint) from exc
        except PKCS11Error as exc:
            if "loading" in str(exc):
                raise ConfigurationError("the PKCS#11 library cannot be loaded", hint="module-path") from exc
            raise
        if key.key_length != KEY_BYTES * 8:
            raise ConfigurationError("the key of the token is not of 256 bits", hint=self._hint)
        return key

    def _session(self) -> "Session":
        import pkcs11

        token = pkcs11.lib(self._uri.module_path).get_token(token_label=self._uri.token)
        pin = read_private(self._folder / self._uri.pin_source)
        try:
            return token.open(user_pin=pin)
        except pkcs11.exceptions.UserAlreadyLoggedIn:  # a login is of the process, not of a session
            return token.open()


def _encrypt(key: AesKey, nonce: bytes, data: bytes, aad: bytes) -> bytes:
    from pkcs11 import GCMParams, Mechanism

    return bytes(key.encrypt(data, mechanism=Mechanism.AES_GCM, mechanism_param=GCMParams(nonce, aad, _TAG_BITS)))


def _decrypt(key: AesKey, nonce: bytes, data: bytes, aad: bytes) -> bytes:
    from pkcs11 import GCMParams, Mechanism

    return bytes(key.decrypt(data, mechanism=Mechanism.AES_GCM, mechanism_param=GCMParams(nonce, aad, _TAG_BITS)))


@dataclass(frozen=True, slots=True)
class Pkcs11Kek(Wrapping):
    """The key of a token. Made by `open_kek`."""

    remote: ClassVar[bool] = True

    id: str
    cipher: _Token = field(repr=False, compare=False)


def open_kek(text: str, folder: Path) -> Pkcs11Kek:
    """The key that a URI names; `folder` is where the key file is. Raises ConfigurationError, Unavailable."""
    try:
        import pkcs11  # noqa: F401 - whether the extra is installed
    except ImportError as exc:
        hint = "pip install 'chartbridge[pkcs11]'"
        raise ConfigurationError("a key in a token needs the extra pkcs11", hint=hint) from exc
    token = _Token(Pkcs11Uri.parse(text), folder)
    return Pkcs11Kek(token.id, token)

"""The key that never leaves its token, against SoftHSM2: it wraps as the file's does, and its faults are told apart.
PKCS#11 v2.40 §2.12.7, RFC 7512; architecture §6."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag

from adapter.errors import ConfigurationError, IntegrityFault, Unavailable
from adapter.kek_files import Keks, load_kek
from adapter.seal.kek import Kek
from adapter.seal.keyring import Keyring
from adapter.seal.pkcs11_kek import Pkcs11Uri, open_kek
from ledger.vault import memory_vault
from tests.adapter.seal import tokens

ORG = "stadtklinik"
ROW = bytes(8)


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One token with four keys, and a session in it: PKCS#11 is started once a process, so all come before."""
    library = tokens.library()
    before = os.environ.get(tokens.CONFIGURATION)
    os.environ[tokens.CONFIGURATION] = str(tokens.configured(tmp_path_factory.mktemp("softhsm")))
    tokens.new_token("hospital")
    import pkcs11

    session = pkcs11.lib(library).get_token(token_label="hospital").open(rw=True, user_pin=tokens.PIN)
    secret = {pkcs11.Attribute.SENSITIVE: True, pkcs11.Attribute.EXTRACTABLE: False}
    for label, bits in (("one", 256), ("two", 256), ("short", 128), ("twice", 256), ("twice", 256)):
        session.generate_key(pkcs11.KeyType.AES, bits, label=label, store=True, template=secret)
    yield session
    session.close()
    if before is None:
        del os.environ[tokens.CONFIGURATION]
    else:
        os.environ[tokens.CONFIGURATION] = before


@pytest.fixture
def folder(token: Any, tmp_path: Path) -> Path:
    """A folder of keys with the file of the PIN."""
    pin = tmp_path / "kek.pin"
    pin.write_text(tokens.PIN)
    pin.chmod(0o600)
    return tmp_path


def key_file(folder: Path, text: str) -> Path:
    path = folder / "kek"
    path.write_text(text + "\n")
    path.chmod(0o600)
    return path


def test_what_the_token_wraps_only_the_token_unwraps(folder: Path) -> None:
    kek, other = (open_kek(tokens.uri("hospital", name), folder) for name in ("one", "two"))
    wrapped = kek.wrap(ORG, "subject", ROW, 1, b"k" * 32, b"n" * 12)
    assert len(wrapped) == 12 + 32 + 16
    assert kek.unwrap(ORG, "subject", ROW, 1, kek.id, wrapped) == b"k" * 32
    assert kek.id != other.id
    with pytest.raises(IntegrityFault, match="is wrapped by key"):
        other.unwrap(ORG, "subject", ROW, 1, kek.id, wrapped)


def test_a_wrapped_key_passes_for_no_other(folder: Path) -> None:
    kek = open_kek(tokens.uri("hospital", "one"), folder)
    wrapped = kek.wrap(ORG, "subject", ROW, 1, b"k" * 32, b"n" * 12)
    changed = wrapped[:-1] + bytes([wrapped[-1] ^ 1])
    for place, data in [
        (("other", "subject", ROW, 1), wrapped),
        ((ORG, "locator", ROW, 1), wrapped),
        ((ORG, "subject", b"\1" * 8, 1), wrapped),
        ((ORG, "subject", ROW, 2), wrapped),
        ((ORG, "subject", ROW, 1), changed),
        ((ORG, "subject", ROW, 1), wrapped[:20]),
        ((ORG, "subject", ROW, 1), b""),
    ]:
        with pytest.raises(IntegrityFault, match="does not unwrap"):
            kek.unwrap(*place, kek.id, data)
    assert kek.unwrap(ORG, "subject", ROW, 1, kek.id, wrapped) == b"k" * 32, "a fault leaves the token usable"


def test_it_makes_the_bytes_that_a_key_in_a_file_makes(token: Any, folder: Path) -> None:
    """The same key in both: what one wrapped, the other's cipher opens. So a key can move into a token."""
    import pkcs11

    key = bytes(range(32))
    token.create_object(
        {
            pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY,
            pkcs11.Attribute.KEY_TYPE: pkcs11.KeyType.AES,
            pkcs11.Attribute.VALUE: key,
            pkcs11.Attribute.LABEL: "imported",
            pkcs11.Attribute.ENCRYPT: True,
            pkcs11.Attribute.DECRYPT: True,
            pkcs11.Attribute.TOKEN: True,
        }
    )
    ours, theirs = Kek(key).cipher, open_kek(tokens.uri("hospital", "imported"), folder).cipher
    nonce, data, aad = b"n" * 12, b"k" * 32, b"aad"
    assert ours.encrypt(nonce, data, aad) == theirs.encrypt(nonce, data, aad)
    with pytest.raises(InvalidTag):
        theirs.decrypt(nonce, ours.encrypt(nonce, data, aad), b"other")


async def test_a_keyring_works_with_a_token_as_with_a_file(folder: Path) -> None:
    key_file(folder, tokens.uri("hospital", "one"))
    vault = memory_vault()
    keyring = Keyring(Keks(folder / "kek"), vault, ORG)
    await keyring.create()
    await keyring.open()
    await keyring.restock(4)
    (message,) = await keyring.new_message_keys(1)
    owner = keyring.new_owner()
    again = Keyring(load_kek(folder / "kek"), vault, ORG)
    assert (await again.open()).identity == keyring.organisation().identity
    await again.load([owner.owner])
    assert again.owner(owner.owner).commitment == owner.commitment
    assert await again.message_keys([message.key_id]) == {message.key_id: message.key}
    await vault.close()


@pytest.mark.parametrize(
    ("token_label", "key", "text"),
    [
        ("hospital", "absent", "no such AES key"),
        ("absent", "one", "no such token"),
        ("hospital", "short", "not of 256 bits"),
        ("hospital", "twice", "several keys"),
    ],
)
def test_a_key_that_cannot_be_used_is_a_matter_of_configuration(
    folder: Path, token_label: str, key: str, text: str
) -> None:
    with pytest.raises(ConfigurationError, match=text):
        open_kek(tokens.uri(token_label, key), folder)


def test_a_pin_that_others_can_read_is_refused(folder: Path) -> None:
    (folder / "kek.pin").chmod(0o644)
    with pytest.raises(ConfigurationError, match="open to others"):
        open_kek(tokens.uri("hospital", "one"), folder)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        open_kek(tokens.uri("hospital", "one", "absent.pin"), folder)


def test_a_library_that_is_none_is_named(folder: Path) -> None:
    uri = tokens.uri("hospital", "one").replace(tokens.library(), "/nowhere.so")
    with pytest.raises(ConfigurationError, match="library cannot be loaded"):
        open_kek(uri, folder)


class _Away:
    """A key behind a device that does not answer."""

    def encrypt(self, *_: object, **__: object) -> bytes:
        from pkcs11.exceptions import DeviceRemoved

        raise DeviceRemoved

    decrypt = encrypt


def test_a_device_that_is_away_is_no_damaged_vault_and_is_asked_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kek = open_kek(tokens.uri("hospital", "one"), folder)
    wrapped = kek.wrap(ORG, "subject", ROW, 1, b"k" * 32, b"n" * 12)
    kek.cipher._key = _Away()
    with pytest.raises(Unavailable, match="cannot be used now"):
        kek.wrap(ORG, "subject", ROW, 1, b"k" * 32, b"n" * 12)
    with monkeypatch.context() as patched:
        patched.setattr(kek.cipher, "_open", _Away)
        kek.cipher._key = _Away()
        with pytest.raises(Unavailable, match="cannot be used now"):
            kek.unwrap(ORG, "subject", ROW, 1, kek.id, wrapped)
    assert kek.unwrap(ORG, "subject", ROW, 1, kek.id, wrapped) == b"k" * 32


GOOD = "pkcs11:token=t;object=o?module-path=/m.so&pin-source=p"


def test_a_uri_says_where_the_key_is() -> None:
    assert Pkcs11Uri.parse(GOOD) == Pkcs11Uri("t", "o", "/m.so", "p")
    spaced = Pkcs11Uri.parse("pkcs11:object=a%20b;token=t?pin-source=file:/run/pin&module-path=/m.so")
    assert (spaced.object, spaced.pin_source) == ("a b", "/run/pin")


@pytest.mark.parametrize(
    "text",
    [
        "pkcs11:",
        GOOD.replace("token=t;", ""),
        GOOD.replace("object=o", "object="),
        GOOD + "&pin-value=471101",
        GOOD.replace("pin-source=p", "pin-value=471101"),
        GOOD.replace("token=t", "token=t;token=u"),
    ],
)
def test_a_uri_that_says_less_or_more_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Pkcs11Uri.parse(text)
    assert "471101" not in str(caught.value)

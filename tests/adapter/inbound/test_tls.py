"""TLS and mutual TLS with certificates of a test authority. Source: operations chapter §4, F51."""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from adapter.errors import ConfigurationError
from adapter.inbound.feed import Feed
from adapter.inbound.listener import Listener
from tests.adapter.inbound.site import Sender, Site, message, msa


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def write(folder: Path, certificate: trustme.LeafCert) -> None:
    certificate.private_key_pem.write_to_path(str(folder / "lab.key"))
    (folder / "lab.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))


@pytest.fixture
def secure(site: Site, authority: trustme.CA, tmp_path: Path) -> Callable[..., Feed]:
    """A feed with a server certificate; `mutual=True` asks clients for one, `names` for one of these."""
    write(tmp_path, authority.issue_cert("localhost"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    def make(*, mutual: bool = False, names: tuple[str, ...] = (), **listen: Any) -> Feed:
        tls: dict[str, Any] = {"cert_file": str(tmp_path / "lab.pem"), "key_file": str(tmp_path / "lab.key")}
        if mutual or names:
            tls |= {"client_ca_file": str(tmp_path / "ca.pem"), "client_names": list(names)}
        return site.feed(tls=tls, **listen)

    return make


def client(authority: trustme.CA, certificate: trustme.LeafCert | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if certificate is not None:
        certificate.configure_cert(context)
    return context


async def dial(listener: Listener, context: ssl.SSLContext) -> Sender:
    return await Sender.open(listener.port, context, "localhost")


async def is_served(listener: Listener, context: ssl.SSLContext) -> bool:
    """Whether a client with this context gets its ACK."""
    with suppress(OSError, asyncio.IncompleteReadError):  # ssl.SSLError is an OSError
        sender = await dial(listener, context)
        try:
            return msa(await sender.ask(message()))[1] == "AA"
        finally:
            await sender.close()
    return False


async def test_messages_travel_over_tls(site: Site, secure: Callable[..., Feed], authority: trustme.CA) -> None:
    listener = await site.listen(feed=secure())
    sender = await dial(listener, client(authority))
    await sender.send(*[message(str(n)) for n in range(20)])
    assert [msa(await sender.ack())[2] for _ in range(20)] == [str(n) for n in range(20)]
    await sender.close()


async def test_a_plain_sender_gets_nothing_from_a_tls_port(site: Site, secure: Callable[..., Feed]) -> None:
    listener = await site.listen(feed=secure())
    sender = await Sender.open(listener.port)
    await sender.send(message())
    with suppress(ConnectionError):
        assert b"MSA" not in await sender.rest()
    await sender.close()
    assert await site.journal.listing(10) == []


async def test_old_protocols_are_not_spoken(site: Site, secure: Callable[..., Feed], authority: trustme.CA) -> None:
    listener = await site.listen(feed=secure())
    context = client(authority)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert await is_served(listener, context)
    assert listener._tls is not None
    assert listener._tls.minimum_version == ssl.TLSVersion.TLSv1_2


async def test_mutual_tls_admits_certificates_of_its_authority_only(
    site: Site, secure: Callable[..., Feed], authority: trustme.CA
) -> None:
    listener = await site.listen(feed=secure(mutual=True))
    stranger = trustme.CA()
    assert await is_served(listener, client(authority, authority.issue_cert("lis.lab.example")))
    assert not await is_served(listener, client(authority))
    assert not await is_served(listener, client(authority, stranger.issue_cert("lis.lab.example")))


async def test_an_expired_client_certificate_is_refused(
    site: Site, secure: Callable[..., Feed], authority: trustme.CA
) -> None:
    listener = await site.listen(feed=secure(mutual=True))
    now = datetime.now(UTC)
    expired = authority.issue_cert("lis.lab.example", not_before=now - timedelta(9), not_after=now - timedelta(1))
    assert not await is_served(listener, client(authority, expired))


@pytest.mark.parametrize(
    ("identity", "admitted"), [("lis.lab.example", True), ("10.20.0.7", True), ("other.lab.example", False)]
)
async def test_only_listed_names_are_admitted(
    site: Site, secure: Callable[..., Feed], authority: trustme.CA, identity: str, admitted: bool
) -> None:
    listener = await site.listen(feed=secure(names=("LIS.lab.example", "10.20.0.7")))
    assert await is_served(listener, client(authority, authority.issue_cert(identity))) is admitted
    assert listener.counters["client-name-not-allowed"] == (0 if admitted else 1)


async def test_a_common_name_is_no_name(site: Site, secure: Callable[..., Feed], authority: trustme.CA) -> None:
    listener = await site.listen(feed=secure(names=("lis.lab.example",)))
    lookalike = authority.issue_cert("other.lab.example", common_name="lis.lab.example")
    assert not await is_served(listener, client(authority, lookalike))


async def test_a_new_certificate_is_taken_without_dropping_a_connection(
    site: Site, secure: Callable[..., Feed], authority: trustme.CA, tmp_path: Path
) -> None:
    listener = await site.listen(feed=secure())
    sender = await dial(listener, client(authority))
    before = sender.writer.get_extra_info("ssl_object").getpeercert()["serialNumber"]
    write(tmp_path, authority.issue_cert("localhost"))
    listener.reload()
    assert msa(await sender.ask(message("1")))[1] == "AA"
    later = await dial(listener, client(authority))
    assert later.writer.get_extra_info("ssl_object").getpeercert()["serialNumber"] != before
    assert msa(await later.ask(message("2")))[1] == "AA"
    await sender.close()
    await later.close()


async def test_a_broken_certificate_file_leaves_the_running_one_alone(
    site: Site, secure: Callable[..., Feed], authority: trustme.CA, tmp_path: Path
) -> None:
    listener = await site.listen(feed=secure())
    (tmp_path / "lab.pem").write_text("not a certificate")
    with pytest.raises(ConfigurationError, match=r"lab\.pem") as caught:
        listener.reload()
    assert str(tmp_path) not in caught.value.text
    assert await is_served(listener, client(authority))


async def test_missing_certificate_files_stop_the_start(
    site: Site, secure: Callable[..., Feed], tmp_path: Path
) -> None:
    feed = secure()
    (tmp_path / "lab.key").unlink()
    with pytest.raises(ConfigurationError, match=r"lab\.key"):
        await site.listen(feed=feed)

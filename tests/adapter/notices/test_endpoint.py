"""Where a notice may go: https, no credentials, public addresses only, checked each time. OWASP SSRF Prevention."""

from ipaddress import ip_address

import pytest

from adapter.errors import Unprocessable
from adapter.notices.endpoint import Endpoint, Endpoints, NotPublic, is_public, listed, parse

PRIVATE = [
    "127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",  # noqa: S104
    "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1", "::", "::1", "fe80::1", "fc00::1",
    "fd12::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1",
    "2002:7f00:1::", "2001:0:7f00:1::", "2001:db8::1",
]  # fmt: skip
PUBLIC = ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:93.184.215.14"]


@pytest.mark.parametrize("address", PRIVATE)
def test_no_address_of_a_private_kind_is_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_internet_are(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("https://hook.example.org", Endpoint("hook.example.org", 443, "/")),
        ("https://HOOK.example.org/a/b", Endpoint("hook.example.org", 443, "/a/b")),
        ("https://hook.example.org:8443/a", Endpoint("hook.example.org", 8443, "/a")),
        ("https://[2001:db8::1]/a", Endpoint("2001:db8::1", 443, "/a")),
    ],
)
def test_an_endpoint_is_read(url: str, endpoint: Endpoint) -> None:
    assert parse(url) == endpoint


@pytest.mark.parametrize(
    "url",
    [
        "", "hook", "http://hook.example.org/", "ftp://hook.example.org/", "https://", "https:///a", "https://a:0x/",
        "https://a:99999/", "https://user@hook.example.org/", "https://user:secret@hook.example.org/",
        "https://hook.example.org/?token=1", "https://hook.example.org/?", "https://hook.example.org/#a",
        "https://hook.example.org/a b", "https://hook.example.org/a\r\nX: 1", "https://hook.example.org\\@127.0.0.1/",
        "https://[fe80::1%25eth0]/", "https://höok.example.org/", "https://-a.example.org/", "https://a..example.org/",
        "https://hook.example.org/" + "a" * 2048,
    ],
)  # fmt: skip
def test_what_is_no_plain_https_url_is_refused(url: str) -> None:
    with pytest.raises(Unprocessable) as raised:
        parse(url)
    assert "example" not in raised.value.text


def test_the_list_names_hosts_and_their_ports() -> None:
    assert listed(parse("https://hook.example.org/a"), ["HOOK.example.org"])
    assert not listed(parse("https://hook.example.org:8443/a"), ["hook.example.org"])
    assert listed(parse("https://hook.example.org:8443/a"), ["hook.example.org:8443"])
    assert not listed(parse("https://sub.hook.example.org/a"), ["hook.example.org"])
    assert not listed(parse("https://hook.example.org/a"), [])


@pytest.mark.parametrize("found", [["10.0.0.1"], ["93.184.215.14", "10.0.0.1"], ["fe80::1%eth0"], [], ["::1"]])
async def test_one_private_address_refuses_the_name(found: list[str]) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return found

    with pytest.raises(NotPublic):
        await Endpoints(resolve).addresses(Endpoint("hook.example.org", 443, "/"))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1", "0", "2130706433", "0x7f000001", "::1"])
async def test_no_spelling_of_this_machine_gets_through(host: str) -> None:
    with pytest.raises(NotPublic):
        await Endpoints().addresses(Endpoint(host, 443, "/"))

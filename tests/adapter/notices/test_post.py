"""One POST: to the address that was checked, under the name's certificate, in a bounded time, and nothing followed."""

import asyncio
import ssl
from collections.abc import AsyncIterator

import pytest

from adapter.notices.endpoint import Endpoint, parse
from adapter.notices.post import MAX_HEAD_BYTES, post
from tests.adapter.notices.hook import HOST, LOOPBACK, Hook, listening


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    async with listening() as found:
        yield found


async def send(hook: Hook, timeout_s: float = 5.0) -> str:
    return await post(hook.endpoints(), parse(hook.url), b"{}", [("X-One", "1")], timeout_s)


async def test_it_arrives_as_it_was_sent(hook: Hook) -> None:
    assert await send(hook) == ""
    (one,) = hook.received
    assert (one.line, one.body, one.headers["x-one"]) == ("POST /notices HTTP/1.1", b"{}", "1")
    assert one.headers["host"] == hook.place


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", ""),
        (b"HTTP/1.0 200\r\n\r\n", ""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n", ""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 9, "no-http"),
        (b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1/\r\n\r\n", "http-302"),
        (b"HTTP/1.1 308 Permanent\r\nLocation: /elsewhere\r\n\r\n", "http-308"),
        (b"HTTP/1.1 410 Gone\r\n\r\n", "http-410"),
        (b"HTTP/1.1 503 Later\r\n\r\n", "http-503"),
        (b"220 smtp.example.org\r\n", "no-http"),
        (b"HTTP/1.1 200OK\r\n\r\n", "no-http"),
        (b"x" * (2 * MAX_HEAD_BYTES), "no-http"),
        (b"", "no-http"),
    ],
)
async def test_the_status_alone_says_whether_it_arrived(hook: Hook, answer: bytes, reason: str) -> None:
    hook.answer = answer
    assert await send(hook) == reason
    assert len(hook.received) == 1  # nothing was followed


async def test_who_never_answers_is_given_its_time_and_no_more(hook: Hook) -> None:
    async def drip() -> None:
        await asyncio.sleep(60)

    hook.meanwhile = drip
    assert await send(hook, timeout_s=0.3) == "timeout"


async def test_a_certificate_of_another_name_is_refused() -> None:
    async with listening("other.example.org") as other:
        assert await send(other) == "tls"
        assert other.received == []


async def test_a_certificate_of_an_unknown_authority_is_refused(hook: Hook) -> None:
    from dataclasses import replace

    strangers = replace(hook.endpoints(), context=ssl.create_default_context())
    assert await post(strangers, parse(hook.url), b"", []) == "tls"
    assert hook.received == []


async def test_nobody_there(hook: Hook) -> None:
    assert await post(hook.endpoints(), Endpoint(HOST, 1, "/"), b"", []) == "connect"


async def test_the_second_address_is_tried_where_the_first_does_not_answer(hook: Hook) -> None:
    hook.resolved = ["127.0.0.9", "127.0.0.1"]
    hook.allowed = lambda address: address.is_loopback
    assert await send(hook) == ""


async def test_a_name_that_changes_its_mind_leads_nowhere(hook: Hook) -> None:
    """DNS rebinding: checked is what is connected to, and a private answer is refused each time it comes."""
    assert await send(hook) == ""
    assert hook.resolutions == 1  # nobody asks again between the check and the connection
    hook.resolved = ["10.0.0.1"]
    assert await send(hook) == "address"
    hook.resolved = ["127.0.0.1", "10.0.0.1"]
    assert await send(hook) == "address"
    assert len(hook.received) == 1
    assert LOOPBACK.is_private  # what the tests allow is what a node never does


async def test_no_proxy_of_the_environment_is_taken(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert await send(hook) == ""

"""gzip: what comes in is unpacked within limits, what goes out is packed where the asker takes it.

A body may not grow to more than 20 times its size, nor beyond the limit of its interaction: unpacking stops there, and
what a bomb would have become is never made. Large ones are worked on beside the event loop.

Source: RFC 9110 §8.4 (Content-Encoding), §15.5.16; RFC 1952 (gzip); fhir chapter §12.
"""

import asyncio
import zlib

from adapter.errors import BadRequest, TooLarge, UnsupportedMedia

MAX_EXPANSION = 20
MIN_ANSWER_BYTES = 1024  # below it the packing costs more than it saves
BESIDE_BYTES = 64 * 1024  # from here on, in a thread: some milliseconds
LEVEL = 5
_GZIP = 16 + zlib.MAX_WBITS  # with gzip's header and checksum


async def unpacked(body: bytes, coding: str | None, limit: int) -> bytes:
    """The body as it was before its coding. Raises UnsupportedMedia, TooLarge, BadRequest."""
    name = (coding or "identity").strip().lower()
    if name in ("", "identity"):
        return body
    if name not in ("gzip", "x-gzip"):
        raise UnsupportedMedia("a body is gzip or has no coding", code="body-encoding")
    if len(body) < BESIDE_BYTES:
        return unzip(body, limit)
    return await asyncio.to_thread(unzip, body, limit)


def unzip(body: bytes, limit: int) -> bytes:
    """One gzip stream, whole, and nothing behind it."""
    most = min(limit, MAX_EXPANSION * len(body))
    stream = zlib.decompressobj(_GZIP)
    try:
        plain = stream.decompress(body, most + 1)
    except zlib.error as exc:
        raise _broken() from exc
    if len(plain) > most:
        text = f"the body unpacks to more than {limit} bytes, or than {MAX_EXPANSION} times its size"
        raise TooLarge(text, code="expansion")
    if not stream.eof or stream.unused_data:
        raise _broken()
    return plain


async def packed(body: bytes) -> bytes:
    """The body as gzip; the same bytes for the same body."""
    return pack(body) if len(body) < BESIDE_BYTES else await asyncio.to_thread(pack, body)


def pack(body: bytes) -> bytes:
    stream = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP)
    return stream.compress(body) + stream.flush()


def _broken() -> BadRequest:
    return BadRequest("the body is not one whole gzip stream", code="body-gzip")

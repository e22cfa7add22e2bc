"""The log's public face: `/log/<shard>/checkpoint` and its hash tiles, as any web server could serve them from `www/`.

Hash tiles and checkpoints name nobody. Entry bundles are pseudonymous and not public: they are not served here.
Source: C2SP tlog-tiles (paths), ledger chapter §7.
"""

import asyncio
import re
from pathlib import Path

from adapter.api.call import Answer, Call, Header
from adapter.errors import NotFound

SHARD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,31}")
# tile/<L>/<N>[.p/<W>]: N in groups of three digits, all but the last with an x before them; an index has 64 bits
TILE = re.compile(r"(?:[0-9]|[1-5][0-9]|6[0-3])/(?:x[0-9]{3}/){0,6}[0-9]{3}(?:\.p/(?:[1-9][0-9]{0,2}))?")
IMMUTABLE: Header = (b"cache-control", b"public, max-age=31536000, immutable")


async def checkpoint(call: Call) -> Answer:
    """The newest published checkpoint: a signed note."""
    body = await asyncio.to_thread(_read, _shard(call) / "checkpoint")
    return Answer(200, body, media_type="text/plain; charset=utf-8")


async def tile(call: Call) -> Answer:
    """One hash tile."""
    place = call.params["tile"]
    if not TILE.fullmatch(place):
        raise NotFound("there is no such tile")
    body = await asyncio.to_thread(_read, _shard(call) / "tile" / place)
    return Answer(200, body, media_type="application/octet-stream")


def _shard(call: Call) -> Path:
    shard = call.params["shard"]
    if not SHARD.fullmatch(shard):
        raise NotFound("there is no such shard")
    return call.services.www / shard


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as exc:
        raise NotFound("there is nothing published at this address") from exc

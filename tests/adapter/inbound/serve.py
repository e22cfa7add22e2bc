"""A listener in a process of its own, for tests that kill it or weigh it.

`python -m tests.adapter.inbound.serve FOLDER [LISTEN]`, LISTEN the JSON of a feed's `[listen]`. Prints its port, serves
until its standard input ends, stops gracefully, prints its memory in KiB.
"""

import asyncio
import json
import resource
import sys
from pathlib import Path
from typing import Any

from tests.adapter.inbound.site import close_site, open_site


async def serve(folder: Path, listen: dict[str, Any]) -> None:
    site = await open_site(folder)
    listener = await site.listen(feed=site.feed(**listen))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(listener.port, flush=True)  # noqa: T201
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await close_site(site)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"before": before, "after": after, "counters": listener.counters}), flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}))

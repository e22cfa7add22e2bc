"""`chartbridge serve`, whose subscribers live on this machine: `python -m tests.adapter.notices.served CA SITE`.

All of it is the node's own but where names lead and whose certificates are believed: no node sends to this machine.
"""

import ssl
import sys
from pathlib import Path

from adapter.notices.endpoint import Endpoints
from adapter.serve import run
from tests.adapter.notices.hook import LOOPBACK


async def resolve(host: str, port: int) -> list[str]:
    return [str(LOOPBACK)]


if __name__ == "__main__":
    context = ssl.create_default_context(cafile=sys.argv[1])
    run(Path(sys.argv[2]), Endpoints(resolve, lambda address: address == LOOPBACK, context))

"""The processes that are measured: `python -m adapter.bench.served node|receiver|api|bare …`.

- `node SITE`: a whole node, everything on, as `chartbridge serve` runs it
- `receiver SITE`: the listener and its journal, as `chartbridge serve --role mllp` will run them
- `api SITE PORT BASE`: one of the api processes of a site, as `chartbridge serve --role api` runs it
- `bare PORT`: one route of the same framework on the same server, which does nothing

Each says when it is ready and ends with its standard input.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from adapter import logs, receiving, tuning
from adapter.loop import run_loop

BODY = b'{"resourceType":"Basic"}' + b" " * 600  # about as long as a Patient


@asynccontextmanager
async def whole_node(site: str) -> AsyncIterator[str]:
    from adapter import node  # here, for the receiver is measured without it

    async with node.running(Path(site)) as up:
        yield str(up.http_port)


@asynccontextmanager
async def receiver(site: str) -> AsyncIterator[str]:
    async with receiving.receiving(Path(site)) as listeners:
        yield str(listeners["main"].port)


@asynccontextmanager
async def api(site: str, port: str, base: str) -> AsyncIterator[str]:
    from adapter.role import running_role
    from adapter.roles import Role

    async with running_role(Path(site), Role.API, http={"port": int(port), "base": base}):
        yield port


@asynccontextmanager
async def bare(port: str) -> AsyncIterator[str]:
    from fastapi import FastAPI, Response

    from adapter import http_server
    from adapter.settings import Http

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.get("/fhir/{kind}/{id}")
    async def route(kind: str, id: str) -> Response:
        return Response(BODY, media_type="application/fhir+json")

    async with http_server.serving(app, Http(port=int(port)), Path()):
        yield port


KINDS: dict[str, Callable[..., AbstractAsyncContextManager[str]]] = {
    "node": whole_node,
    "receiver": receiver,
    "api": api,
    "bare": bare,
}


async def _serve(kind: str, *arguments: str) -> None:
    async with KINDS[kind](*arguments) as ready:
        tuning.settle()
        sys.stdout.write(ready + "\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    logs.configure()
    tuning.tune()
    run_loop(_serve(*sys.argv[1:]))

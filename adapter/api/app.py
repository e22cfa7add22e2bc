"""The web application: FastAPI around the route table, with the framework's own refusals told as OperationOutcome.

Routes are plain ASGI endpoints (`call.py`): a FHIR read needs none of the framework's parameter machinery, which costs
more than the rest of the read. Nor does it pass the framework's layers around it: one of them would write URLs, and
with them identifiers of patients, into whatever telemetry a library switches on. The lifespan runs the minute's timer
of refusals, and the exports.

Source: fhir chapter §7, §13; operations chapter §2 (granian serves, uvicorn in tests).
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

import structlog
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from adapter.api import outcome
from adapter.api.call import Answer, presented_answer, refusal, request_id, respond
from adapter.api.direct import Direct
from adapter.api.options import Browsers, allow, header_of
from adapter.api.presentation import asked_of_framework
from adapter.api.routes import is_public, methods, routes
from adapter.services import Entropy, Services
from adapter.telling import tell_now, tell_refusals

log = structlog.get_logger()


class _Application(FastAPI):
    """The framework's application in the two layers that refusals need: the server's errors, and HTTP's. Before them
    stands what answers for every address alike: OPTIONS, and the origins of browsers' apps. Between the two, what the
    table holds goes to its endpoint at once.
    """

    browsers: Browsers
    entropy: Entropy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if self.browsers.known:
                send = self.browsers.telling(scope, send)
            if scope["method"] == "OPTIONS":
                await respond(send, self.browsers.options(scope), _request_id(scope, self.entropy))
                return
        await Starlette.__call__(self, scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        stack = Starlette.build_middleware_stack(self)
        if not isinstance(stack, ServerErrorMiddleware) or self.user_middleware:
            raise RuntimeError("the framework has other layers than were known: what goes directly would pass them by")
        stack.app = Direct(stack.app, [route for route in self.router.routes if isinstance(route, Route)])
        return stack


def create_app(services: Services) -> FastAPI:
    """The application over one node's services."""
    app = _Application(
        title="Chartbridge",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan(services),
    )
    app.browsers, app.entropy = Browsers(services.settings.http.origins, methods, is_public), services.entropy
    app.router.routes[:] = routes(services)

    async def framework_refusal(request: Request, exc: Exception) -> Response:
        status = exc.status_code if isinstance(exc, HTTPException) else 500
        known = methods(request.scope["path"])
        answer = refusal(outcome.from_status(404 if status == 405 and not known else status))
        if answer.status == 405:
            answer = replace(answer, headers=(*answer.headers, allow(known)))
        presentation = asked_of_framework(dict(request.scope["headers"]), request.scope["query_string"])
        return _Refusal(await presented_answer(answer, presentation), _request_id(request.scope, services.entropy))

    app.add_exception_handler(HTTPException, framework_refusal)
    app.add_exception_handler(Exception, framework_refusal)
    return app


class _Refusal(Response):
    """An answer of ours where the framework wants one of its own."""

    def __init__(self, answer: Answer, request_id: str) -> None:
        super().__init__()
        self._answer, self._request_id = answer, request_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, self._answer, self._request_id, head=scope["method"] == "HEAD")


def _request_id(scope: Scope, entropy: Entropy) -> str:
    return request_id(header_of(scope, b"x-request-id"), entropy)


def _lifespan(services: Services) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        timer = asyncio.create_task(tell_refusals(services))
        services.exports.wake()  # what the last process did not finish
        yield
        timer.cancel()
        await services.exports.close()
        await asyncio.wait({timer})
        await tell_now(services)

    return lifespan

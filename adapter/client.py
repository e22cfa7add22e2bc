"""A small FHIR client for the demo and the benchmark: requests with a token, answers as they came.

Source: FHIR R4, RESTful API. The standard library's HTTP, because the product's core needs no client of its own.
"""

import asyncio
import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

FHIR_JSON = "application/fhir+json"


@dataclass(frozen=True, slots=True)
class Response:
    """Status, headers in lower case, and body of one answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class FhirClient:
    """One client of one FHIR base (`http://host:port/fhir`), with its bearer token."""

    base: str
    token: str

    async def get(self, path: str, **headers: str) -> Response:
        return await asyncio.to_thread(self._request, "GET", path, None, headers)

    async def delete(self, path: str) -> Response:
        return await asyncio.to_thread(self._request, "DELETE", path, None, {})

    async def post(self, path: str, body: bytes, media_type: str) -> Response:
        """Anything that is no FHIR resource."""
        return await asyncio.to_thread(self._request, "POST", path, body, {"Content-Type": media_type})

    async def send(self, method: str, path: str, resource: Any, **headers: str) -> Response:
        body = json.dumps(resource).encode()
        return await asyncio.to_thread(self._request, method, path, body, {"Content-Type": FHIR_JSON, **headers})

    def _request(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Response:
        url = urlsplit(self.base)
        connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=30)
        try:
            connection.request(
                method, url.path + path, body, {"Authorization": f"Bearer {self.token}", "Accept": FHIR_JSON, **headers}
            )
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Response(answer.status, found, answer.read())
        finally:
            connection.close()

"""Answers as HTTP responses: objects, Status objects, and what a faulty server sends.

https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/
api-conventions.md is "conventions" below.
"""

import asyncio
import json
from collections.abc import AsyncIterator

from starlette.responses import Response, StreamingResponse

from tests.cluster.faults import Fault
from tests.cluster.store import Object
from tests.cluster.writes import Refused

ENDLESS_BYTES = 100 << 20
_PIECE = b"x" * (1 << 16)


def as_json(body: Object, status: int = 200) -> Response:
    return Response(json.dumps(body), status, media_type="application/json")


def status_object(refused: Refused) -> Object:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": refused.message,
        "reason": refused.reason,
        "details": refused.details,
        "code": refused.code,
    }


def as_status(refused: Refused, retry_after: int | None = None) -> Response:
    """conventions, "Response Status Kind"; details.retryAfterSeconds is the header's too
    (apiserver/pkg/endpoints/handlers/responsewriters, ErrorNegotiated)."""
    response = as_json(status_object(refused), refused.code)
    seconds = retry_after or refused.details.get("retryAfterSeconds")
    if seconds:
        response.headers["Retry-After"] = str(seconds)
    return response


async def as_fault(fault: Fault, transport: asyncio.Transport) -> Response | None:
    """What a request that meets it is answered; None: what it would be without."""
    match fault.kind:
        case "status":
            # AC/conventions, "HTTP Status codes": 429 and 5xx may come with Retry-After.
            refused = Refused(fault.status, fault.reason, "told to fail")
            return as_status(refused, fault.retry_after)
        case "text":
            return Response(fault.body, fault.status, media_type="text/plain")
        case "garbage":
            return Response(fault.body, media_type="application/json")
        case "redirect":
            return Response(b"", 302, {"location": fault.location})
        case "endless":
            return StreamingResponse(_endless(), media_type="application/json")
        case "half":
            return StreamingResponse(_half(transport), media_type="application/json")
        case "cut":
            transport.abort()
            return Response(b"", 500)
        case "hold":
            while not fault.release.is_set():
                await asyncio.sleep(0.01)
    return None


async def _endless() -> AsyncIterator[bytes]:
    for _ in range(ENDLESS_BYTES // len(_PIECE)):
        yield _PIECE


async def _half(transport: asyncio.Transport) -> AsyncIterator[bytes]:
    yield b'{"kind": "NodeList", "metadata": {"resourceVersion": "1"}, "items": ['
    transport.abort()

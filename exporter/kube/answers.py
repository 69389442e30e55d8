"""What the API server answered: bounded, unpacked by nobody, and in words where it is no object.

The rule: nothing of it is trusted; what is no JSON, or no Status, is an ApiError all the same.
"""

from typing import TYPE_CHECKING, Any

from msgspec import json

from exporter.kube.api import ApiError, Object

if TYPE_CHECKING:
    import httpx

MAX_RETRY_AFTER = 3600.0
_READ_BYTES = 64 << 10


def from_status(
    where: str, said: Object, status: int | None = None, retry_after: str | None = None
) -> ApiError:
    """docs/reference/kubernetes-api/common-definitions/status; `retry_after` is a header's, which
    counts more than details.retryAfterSeconds. Of anything that is no Status, what there is."""
    details = said.get("details")
    seconds = _seconds(retry_after)
    if seconds is None and isinstance(details, dict):
        seconds = _seconds(details.get("retryAfterSeconds"))
    if status is None:
        code = said.get("code")
        status = code if isinstance(code, int) else None
    reason, message = said.get("reason"), said.get("message")
    return ApiError(
        where,
        message[:500] if isinstance(message, str) and message else "no reason is given",
        status,
        reason if isinstance(reason, str) else "",
        seconds,
    )


def _seconds(value: object) -> float | None:
    """Seconds to wait; of a date, which the API never sends, None."""
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) < 10 else None
    if not isinstance(value, int) or value <= 0:
        return None
    return min(float(value), MAX_RETRY_AFTER)


async def body_of(where: str, answer: "httpx.Response", most: int) -> bytes:
    """All of it. Raises ApiError where it is packed, or longer than that."""
    uncompressed(where, answer)
    body = bytearray()
    async for piece in answer.aiter_raw(_READ_BYTES):
        body += piece
        if len(body) > most:
            raise ApiError(where, f"the answer is longer than {most} bytes, and is not read")
    return bytes(body)


def uncompressed(where: str, answer: "httpx.Response") -> None:
    """Raises ApiError where it is packed: 64 KB of that may be 64 MB."""
    packed = answer.headers.get("Content-Encoding", "identity")
    if packed != "identity":
        raise ApiError(where, f"compressed as {packed}, which was not asked for")


def decoded(where: str, content: bytes | bytearray) -> Any:
    """Raises ApiError where it is no JSON."""
    try:
        return json.decode(content)
    except (ValueError, RecursionError) as error:
        raise ApiError(where, f"what was answered is no JSON: {error}") from error

"""The client that asks servers who want to know who we are: for pinglists, and for results.

The rule: each request is made with the certificates and the token that the files have now
(exporter/identity.py). Knows no pinglist and no result.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from exporter.identity import Identity, Seen
from exporter.threads import in_thread

if TYPE_CHECKING:
    import httpx


class Opened(NamedTuple):
    """`headers` say who we are; `extensions` are httpx's, of the request."""

    client: "httpx.AsyncClient"
    headers: Mapping[str, str]
    extensions: Mapping[str, str]


class PullClient:
    """`open` before each turn; what it gives is good for that one, and there is one at a time.
    `options` are httpx's, besides whom it trusts."""

    def __init__(
        self, identity: Identity, secure: bool, options: Callable[[], Mapping[str, Any]]
    ) -> None:
        self._identity, self._secure, self._options = identity, secure, options
        self._client: httpx.AsyncClient | None = None
        self._seen = Seen({}, {})
        name = identity.tls.server_name
        self._extensions = {"sni_hostname": name} if name else {}

    async def open(self) -> Opened:
        """Raises BadFile."""
        seen = await in_thread(self._identity.look, "pull files")
        if self._client is not None and seen.stamps != self._seen.stamps:
            await self.close()
        if self._client is None:
            self._client = await in_thread(self._make, "pull client")
        self._seen = seen
        return Opened(self._client, seen.headers, self._extensions)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _make(self) -> "httpx.AsyncClient":
        import httpx

        return httpx.AsyncClient(
            verify=self._identity.context() if self._secure else False,
            follow_redirects=False,
            trust_env=False,
            **self._options(),
        )

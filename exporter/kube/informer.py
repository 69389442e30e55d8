"""A collection kept up to date: listed once, then watched; again from where a watch was cut.

The rule: what was known stays known while the API is away, and `stale_since` says since when it
may be wrong. Semantics are those of docs/reference/using-api/api-concepts (efficient detection of
changes): a 410 means that the history is gone, so everything is listed anew.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Generic, TypeVar

from exporter.clock import Clock
from exporter.kube.api import PAGE_OBJECTS, ApiError, KubeApi, Object, Resource
from exporter.kube.backoff import Backoff
from exporter.kube.cache import Cache, Change

WATCH_SECONDS = 300
# A watch that ends at once, with nothing said, would otherwise be begun again without end.
SHORTEST_WATCH_SECONDS = 1.0

T = TypeVar("T")

log = logging.getLogger(__name__)


class Informer(Generic[T]):
    """`run` it in a task of the loop; everything else is for that loop too.

    `known` is what there is; `on_change` hears of each change, in order, and must not block.
    `stale_since` is the clock's monotonic seconds when it was last sure to be right, None while it
    is; before the first list, since it began. `problem` is why it is not, "" while all is well.
    """

    def __init__(
        self,
        api: KubeApi,
        resource: Resource,
        clock: Clock,
        reduce: Callable[[Object], T | None],
        *,
        on_change: Callable[[Change[T]], None] | None = None,
        on_synced: Callable[[], None] | None = None,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        cached: bool = False,
        watch_seconds: int = WATCH_SECONDS,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        backoff: Backoff | None = None,
    ) -> None:
        """`cached` as in KubeApi.list_page. `on_synced` is told at the end of every list: from
        then on everything that there is has been heard of."""
        self._api, self._resource, self._clock = api, resource, clock
        self._where: Mapping[str, str] = MappingProxyType(
            {"namespace": namespace, "labels": labels, "fields": fields}
        )
        self._cached = cached
        self._limit = PAGE_OBJECTS
        self._on_change, self._on_synced = on_change, on_synced
        self._watch_seconds, self._pause = watch_seconds, pause
        self._backoff = backoff or Backoff()
        self._listed = asyncio.Event()
        self._must_list = True
        self.known: Cache[T] = Cache(reduce)
        self._sure_at = clock.monotonic()
        self.stale_since: float | None = self._sure_at
        self.problem = ""
        self.lists = self.watches = 0

    @property
    def synced(self) -> bool:
        """Whether it was listed whole, once."""
        return self._listed.is_set()

    async def until_synced(self) -> None:
        await self._listed.wait()

    async def run(self) -> None:
        """Until it is cancelled; nothing else ends it."""
        while True:
            try:
                if self._must_list:
                    await self._list()
                await self._watch()
            except ApiError as error:
                await self._failed(error)
            except Exception as error:  # what nobody thought of costs a turn, not the role
                log.error("watching %s failed", self._resource, exc_info=error)
                text = f"{type(error).__name__}: {error}"
                await self._failed(ApiError(f"watch {self._resource}", text))

    async def _list(self) -> None:
        self.known.begin_list()
        more = ""
        while True:
            try:
                page = await self._api.list_page(
                    self._resource, **self._where, limit=self._limit, more=more, cached=self._cached
                )
            except ApiError as error:
                if error.gone and more:  # the pages came too slowly: the next time without
                    self._limit = 0
                raise
            self._tell(self.known.listed(page.items))
            more = page.more
            if not more:
                break
        self._tell(self.known.end_list(page.version))
        self.lists += 1
        self._sure_at = self._clock.monotonic()
        self._limit, self._must_list = PAGE_OBJECTS, False
        self._listed.set()
        if self._on_synced is not None:
            self._on_synced()

    async def _watch(self) -> None:
        # Not all agents' watches, begun together after an outage, end together again.
        seconds = int(self._watch_seconds * random.uniform(1, 1.5))  # noqa: S311 # not a secret
        began, heard = self._clock.monotonic(), False
        watch = self._api.watch(
            self._resource, version=self.known.version, **self._where, seconds=seconds
        )
        try:
            async with watch as events:
                self.watches += 1
                self._well()
                async for event in events:
                    heard = True
                    self._sure_at = self._clock.monotonic()
                    self._tell(self.known.watched(event))
            self._sure_at = self._clock.monotonic()
        finally:
            lasted = self._clock.monotonic() - began
            if heard or lasted >= SHORTEST_WATCH_SECONDS:
                self._backoff.succeeded()
        if not heard and lasted < SHORTEST_WATCH_SECONDS:
            raise ApiError(f"watch {self._resource}", "ended at once, without a word")

    def _tell(self, changes: Iterable[Change[T]]) -> None:
        for change in changes:
            if self._on_change is None:
                continue
            try:
                self._on_change(change)
            except Exception as error:  # the hearer's, who must not stop what others hear
                log.error("a change of %s was not taken", self._resource, exc_info=error)

    def _well(self) -> None:
        self._sure_at = self._clock.monotonic()
        self.stale_since = None
        if self.problem:
            log.info("%s are watched again", self._resource)
            self.problem = ""

    async def _failed(self, error: ApiError) -> None:
        if self.stale_since is None:
            self.stale_since = self._sure_at
        if error.gone:
            self._must_list = True
        first = self._backoff.failures == 0
        wait = self._backoff.failed(error.retry_after)
        if error.gone and first:  # no failure, if the list that follows works
            return
        if not self.problem:
            log.warning("%s; what is known of %s may be old", error, self._resource)
        self.problem = str(error)
        await self._pause(wait)

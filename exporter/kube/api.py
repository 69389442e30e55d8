"""The Kubernetes API as kernmesh's parts see it: resources, answers, errors, and the KubeApi seam.

Objects are the API's own JSON as dicts; who keeps many of them reduces them first. Knows no HTTP
client. The names are those of https://kubernetes.io/docs/reference/using-api/api-concepts/.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from exporter.errors import KernmeshError

Object: TypeAlias = dict[str, Any]

PAGE_OBJECTS = 250
"""How many objects a list's answer may have: 10 MB of nodes with many images, read at once."""


class Resource(NamedTuple):
    """A kind of objects by its place in the API. `versions` from the newest: the first that the
    cluster serves is asked, and where there is but one the cluster is not asked which it has."""

    group: str
    versions: tuple[str, ...]
    plural: str
    namespaced: bool

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


NODES = Resource("", ("v1",), "nodes", namespaced=False)
PODS = Resource("", ("v1",), "pods", namespaced=True)
LEASES = Resource("coordination.k8s.io", ("v1",), "leases", namespaced=True)
# v1 is there since 1.21, v1beta1 until 1.24 (docs/reference/using-api/deprecation-guide).
ENDPOINT_SLICES = Resource("discovery.k8s.io", ("v1", "v1beta1"), "endpointslices", namespaced=True)


class Page(NamedTuple):
    """A part of a list. `version` is the collection's, to watch from; `more` continues it, "" at
    the end."""

    items: Sequence[Object]
    version: str
    more: str


class Event(NamedTuple):
    """A watch's. Of a BOOKMARK only the object's metadata.resourceVersion means anything."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: Object


def map_of(value: Any) -> Object:
    """Itself; {} for what is no map, null among it."""
    return value if isinstance(value, dict) else {}


class ApiError(KernmeshError):
    """The API refused, or did not answer. `status` is HTTP's, None where there was no whole answer
    (connection, time, TLS, garbage); `reason` as in a Status object ("Conflict", "Expired", …) or
    "" where unknown; `message` is the API's own; `retry_after` in seconds, None where it says none.
    """

    def __init__(
        self,
        where: str,
        message: str,
        status: int | None = None,
        reason: str = "",
        retry_after: float | None = None,
    ) -> None:
        self.status, self.reason, self.message = status, reason, message
        self.retry_after = retry_after
        got = f"HTTP {status}" + (f" {reason}" if reason else "") + ": " if status else ""
        super().__init__(f"{where}: {got}{message}")

    @property
    def not_found(self) -> bool:
        return self.status == 404

    @property
    def conflict(self) -> bool:
        """Another writer was first (update), owns a field (apply), or the name is taken (create:
        `reason` is AlreadyExists)."""
        return self.status == 409

    @property
    def gone(self) -> bool:
        """The resourceVersion or the continue token is too old: list anew."""
        return self.status == 410

    @property
    def may_pass(self) -> bool:
        """The same request may succeed later: no answer, 429, or the server's own trouble. A 500
        is said of requests that time out inside the API server, too."""
        return self.status is None or self.status == 429 or self.status >= 500


PatchKind = Literal["merge", "json", "strategic"]


class KubeApi(Protocol):
    """All methods raise ApiError. `namespace` "" is every namespace in a list or watch, and right
    for what has none. `dry_run`: the API checks and answers, and keeps nothing."""

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Object: ...

    async def list_page(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        limit: int = PAGE_OBJECTS,
        more: str = "",
        cached: bool = False,
    ) -> Page:
        """`labels` and `fields` are selectors. `limit` 0: all at once. `cached` takes what the API
        server remembers (resourceVersion 0), which may be old and may ignore the limit: for what
        every node asks, since a consistent list of one node's pods reads all pods there are."""

    def watch(
        self,
        resource: Resource,
        *,
        version: str,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        seconds: int = 300,
    ) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """Changes after `version`. Entering it means that the API has accepted; the iterator ends
        when the API ends the watch (`seconds` at most), and raises when it is cut or too old."""

    async def apply(
        self,
        resource: Resource,
        name: str,
        body: Mapping[str, Any],
        *,
        manager: str,
        force: bool = False,
        namespace: str = "",
        subresource: str = "",
        dry_run: bool = False,
    ) -> Object:
        """Server-side apply. What `manager` applied before and `body` lacks is removed; a field
        that another manager owns is a conflict, unless `force` takes it. With a metadata.uid in
        `body` only the object that has it (else 409 where there is none, 422 where there is
        another); without, the object is made where there is none and the caller may create.
        `body` needs its kind; apiVersion and name are put in."""

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        kind: PatchKind = "merge",
        manager: str = "",
        namespace: str = "",
        subresource: str = "",
        dry_run: bool = False,
    ) -> Object:
        """A JSON patch is a sequence of operations, the others are maps."""

    async def create(
        self,
        resource: Resource,
        body: Mapping[str, Any],
        *,
        namespace: str = "",
        manager: str = "",
        dry_run: bool = False,
    ) -> Object: ...

    async def update(
        self,
        resource: Resource,
        name: str,
        body: Mapping[str, Any],
        *,
        namespace: str = "",
        subresource: str = "",
        manager: str = "",
        dry_run: bool = False,
    ) -> Object:
        """Replaces the object; a metadata.resourceVersion in `body` must be the present one."""

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        grace_seconds: int | None = None,
    ) -> None:
        """With `uid`, only the object that has it. `grace_seconds` is for pods: None is what the
        pod says, 0 at once."""

    async def evict(
        self,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        grace_seconds: int | None = None,
        dry_run: bool = False,
    ) -> None:
        """A 429 means that a PodDisruptionBudget forbids it now."""

    async def close(self) -> None: ...


async def every(
    api: KubeApi, resource: Resource, *, namespace: str = "", labels: str = "", fields: str = ""
) -> AsyncIterator[Object]:
    """All objects of a consistent list, page by page. Raises ApiError, also (410) where the list
    took so long that its rest has expired."""
    more = ""
    while True:
        page = await api.list_page(
            resource, namespace=namespace, labels=labels, fields=fields, more=more
        )
        for item in page.items:
            yield item
        more = page.more
        if not more:
            return

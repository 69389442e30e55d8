"""KubeApi as HTTP requests: paths, query parameters, content types, and which versions there are.

One per role; its connections are shared by all requests. When to try again is the caller's.
Paths and parameters are those of https://kubernetes.io/docs/reference/using-api/api-concepts/.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

from exporter.clock import Clock
from exporter.kube.access import Access
from exporter.kube.answers import from_status
from exporter.kube.api import (
    PAGE_OBJECTS,
    PODS,
    ApiError,
    Event,
    Object,
    Page,
    PatchKind,
    Resource,
)
from exporter.kube.transport import (
    MAX_BYTES,
    TIMEOUT_SECONDS,
    Asked,
    Request,
    Transport,
)

_PATCH_TYPES: Mapping[str, str] = {
    "apply": "application/apply-patch+yaml",  # JSON is YAML
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}


class KubeClient:
    """A KubeApi. `observe` hears of every request; `timeout` is one request's, in seconds."""

    def __init__(
        self,
        access: Access,
        clock: Clock,
        *,
        role: str = "agent",
        observe: Callable[[Asked], None] | None = None,
        timeout: float = TIMEOUT_SECONDS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._transport = Transport(access, clock, role, observe, timeout, max_bytes)
        self._versions: dict[Resource, str] = {}
        self._eviction: str | None = None

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        return await self._ask("get", "GET", resource, namespace, name)

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
        query = {"labelSelector": labels, "fieldSelector": fields, "continue": more}
        query["limit"] = str(limit) if limit else ""
        # resourceVersion must not be set together with continue (api-concepts: retrieving large
        # result sets in chunks).
        query["resourceVersion"] = "0" if cached and not more else ""
        found = await self._ask("list", "GET", resource, namespace, query=query)
        meta, items = found.get("metadata"), found.get("items")
        # An empty list's items are null where Go made them of nothing.
        if not isinstance(meta, dict) or not isinstance(items, list | None):
            raise ApiError(f"list {resource}", "what was answered is no list")
        kept = [each for each in items or () if isinstance(each, dict)]
        return Page(kept, str(meta.get("resourceVersion", "")), str(meta.get("continue") or ""))

    @asynccontextmanager
    async def watch(
        self,
        resource: Resource,
        *,
        version: str,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        seconds: int = 300,
    ) -> AsyncIterator[AsyncIterator[Event]]:
        where = f"watch {resource}"
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
            "labelSelector": labels,
            "fieldSelector": fields,
        }
        path = await self._path(resource, namespace)
        request = Request(where, "watch", str(resource), "GET", path, query)
        async with self._transport.lines(request, seconds) as lines:
            yield _events(where, lines)

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
        api_version = await self._api_version(resource)
        query = _writing(manager, dry_run) | {"force": "true" if force else ""}
        place = {"name": name} | ({"namespace": namespace} if namespace else {})
        full = {"apiVersion": api_version} | dict(body)
        full["metadata"] = dict(body.get("metadata", {})) | place
        return await self._ask(
            "apply",
            "PATCH",
            resource,
            namespace,
            name,
            subresource,
            query,
            full,
            _PATCH_TYPES["apply"],
        )

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
        return await self._ask(
            "patch",
            "PATCH",
            resource,
            namespace,
            name,
            subresource,
            _writing(manager, dry_run),
            patch,
            _PATCH_TYPES[kind],
        )

    async def create(
        self,
        resource: Resource,
        body: Mapping[str, Any],
        *,
        namespace: str = "",
        manager: str = "",
        dry_run: bool = False,
    ) -> Object:
        query = _writing(manager, dry_run)
        return await self._ask("create", "POST", resource, namespace, query=query, body=body)

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
        query = _writing(manager, dry_run)
        return await self._ask("update", "PUT", resource, namespace, name, subresource, query, body)

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        grace_seconds: int | None = None,
    ) -> None:
        options = {"apiVersion": "v1", "kind": "DeleteOptions"} | _ending(uid, grace_seconds)
        await self._ask("delete", "DELETE", resource, namespace, name, body=options)

    async def evict(
        self,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        grace_seconds: int | None = None,
        dry_run: bool = False,
    ) -> None:
        options = _ending(uid, grace_seconds)
        if dry_run:
            options["dryRun"] = ["All"]
        body = {
            "apiVersion": await self._eviction_version(),
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": options,
        }
        await self._ask("evict", "POST", PODS, namespace, name, "eviction", body=body)

    async def close(self) -> None:
        await self._transport.close()

    # What versions the cluster has

    async def _api_version(self, resource: Resource) -> str:
        """ "v1", "coordination.k8s.io/v1"."""
        version = resource.versions[0]
        if len(resource.versions) > 1:
            version = self._versions.get(resource) or await self._served(resource)
        return f"{resource.group}/{version}" if resource.group else version

    async def _served(self, resource: Resource) -> str:
        """Asks discovery, which every authenticated user may (docs/reference/access-authn-authz/
        rbac: system:discovery)."""
        where = f"discover {resource}"
        path = f"/apis/{resource.group}"
        group = await self._transport.ask(Request(where, "discover", str(resource), "GET", path))
        rows = group.get("versions")
        served = {each.get("version") for each in rows} if isinstance(rows, list) else set()
        for version in resource.versions:
            if version in served:
                self._versions[resource] = version
                return version
        want = " or ".join(resource.versions)
        raise ApiError(where, f"the cluster does not serve {resource.group}/{want}")

    async def _eviction_version(self) -> str:
        """Whether the pods' subresource takes policy/v1 (since 1.22) or v1beta1 is said in the
        core group's list of resources, as kubectl drain looks it up (docs/concepts/
        scheduling-eviction/api-eviction)."""
        if self._eviction is None:
            where = "discover pods/eviction"
            request = Request(where, "discover", "pods/eviction", "GET", "/api/v1")
            core = await self._transport.ask(request)
            rows = core.get("resources")
            for each in rows if isinstance(rows, list) else ():
                if each.get("name") == "pods/eviction":
                    self._eviction = f"{each.get('group', 'policy')}/{each.get('version', 'v1')}"
                    break
            else:
                raise ApiError(where, "the cluster cannot evict pods")
        return self._eviction

    async def _path(
        self, resource: Resource, namespace: str, name: str = "", subresource: str = ""
    ) -> str:
        api_version = await self._api_version(resource)
        parts = ["/apis" if resource.group else "/api", api_version]
        if resource.namespaced and namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(resource.plural)
        parts += [quote(part, safe="") for part in (name, subresource) if part]
        return "/".join(parts)

    async def _ask(
        self,
        verb: str,
        method: str,
        resource: Resource,
        namespace: str = "",
        name: str = "",
        subresource: str = "",
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Object:
        path = await self._path(resource, namespace, name, subresource)
        place = "/".join(part for part in (namespace, name, subresource) if part)
        where = f"{verb} {resource} {place}".rstrip()
        request = Request(where, verb, str(resource), method, path, query or {}, body, content_type)
        return await self._transport.ask(request)


def _writing(manager: str, dry_run: bool) -> dict[str, str]:
    return {"fieldManager": manager, "dryRun": "All" if dry_run else ""}


def _ending(uid: str, grace_seconds: int | None) -> Object:
    """docs/reference/kubernetes-api/common-definitions/delete-options"""
    options: Object = {}
    if uid:
        options["preconditions"] = {"uid": uid}
    if grace_seconds is not None:
        options["gracePeriodSeconds"] = grace_seconds
    return options


async def _events(where: str, lines: AsyncIterator[Object]) -> AsyncIterator[Event]:
    async for line in lines:
        kind, found = (line.get("type"), line.get("object")) if isinstance(line, dict) else (0, 0)
        if not isinstance(found, dict):
            raise ApiError(where, "a line is no watch event")
        match kind:
            case "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK":
                yield Event(kind, found)
            case "ERROR":  # its object is a Status; of a version too old, code 410
                raise from_status(where, found)
            case _:
                raise ApiError(where, "a line is no watch event")

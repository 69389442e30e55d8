"""What is read of the store: discovery, lists in pages, watches. AC is
https://kubernetes.io/docs/reference/using-api/api-concepts/.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping

from tests.cluster.kinds import KINDS, Kind, Release, eviction_version
from tests.cluster.responses import status_object
from tests.cluster.selectors import Matches, field_selector, label_selector
from tests.cluster.store import Expired, Object, Store, Written
from tests.cluster.writes import Refused, Target

Query = Mapping[str, str]


class Reads:
    """`open_watches` counts those whose answer has begun."""

    def __init__(self, store: Store, release: Release) -> None:
        self._store, self._release = store, release
        self._watchers: set[asyncio.Queue[Written | str]] = set()
        self.open_watches = 0
        self.expire_next_token = False
        store.hearers.add(self._heard)

    def discover(self, path: str) -> Object | None:
        """AC, "API discovery": /apis/<group> is an APIGroup, /api/v1 an APIResourceList."""
        if path == "/api/v1":
            evict = {
                "name": "pods/eviction",
                "kind": "Eviction",
                "namespaced": True,
                "group": "policy",
                "version": eviction_version(self._release),
                "verbs": ["create"],
            }
            core = [
                {"name": each.plural, "kind": each.kind, "namespaced": each.namespaced}
                for each in KINDS.values()
                if not each.group
            ]
            return {"kind": "APIResourceList", "groupVersion": "v1", "resources": [*core, evict]}
        if path.startswith("/apis/") and path.count("/") == 2:
            group = path.rpartition("/")[2]
            versions = {
                v for k in KINDS.values() if k.group == group for v in k.versions[self._release]
            }
            if versions:
                rows = [{"groupVersion": f"{group}/{v}", "version": v} for v in sorted(versions)]
                return {"kind": "APIGroup", "apiVersion": "v1", "name": group, "versions": rows}
        return None

    def _selector(self, query: Query, kind: Kind) -> Matches:
        by_field = field_selector(query.get("fieldSelector", ""), kind)
        by_label = label_selector(query.get("labelSelector", ""))
        return lambda found: by_field(found) and by_label(found)

    def list(self, query: Query, target: Target) -> Object:
        matches = self._selector(query, target.kind)
        more, limit = query.get("continue", ""), int(query.get("limit") or 0)
        if more:
            if query.get("resourceVersion") not in (None, "", "0"):
                message = "specifying resource version is not allowed when using continue"
                raise Refused(400, "BadRequest", message)
            if self.expire_next_token:
                self.expire_next_token = False
                self._store.compact()
            token = json.loads(base64.urlsafe_b64decode(more))
            version, start, number = token["rv"], token["start"], token["list"]
            try:
                found = self._store.rest(number)
            except Expired:
                # AC, "Retrieving large results sets in chunks": 410 ResourceExpired.
                message = "The provided continue parameter is too old to display a consistent list"
                raise Refused(410, "Expired", message) from None
        else:
            found = [
                each
                for each in self._store.select(target.kind.plural, target.namespace)
                if matches(each)
            ]
            version, start = self._store.version, 0
            # AC, "Semantics for list": resourceVersion 0 is answered from the cache, where the
            # limit is not looked at (older releases).
            if query.get("resourceVersion") == "0":
                limit = 0
        meta: Object = {"resourceVersion": str(version)}
        stop = start + limit if limit else len(found)
        if stop < len(found):
            if not more:
                number = self._store.snapshot(found)
            token = json.dumps({"rv": version, "start": stop, "list": number}).encode()
            meta["continue"] = base64.urlsafe_b64encode(token).decode()
            if not query.get("fieldSelector") and not query.get("labelSelector"):
                meta["remainingItemCount"] = len(found) - stop
        return {
            "kind": f"{target.kind.kind}List",
            "apiVersion": target.api_version,
            "metadata": meta,
            # Objects in a list have no kind and apiVersion of their own (AC, "Collections").
            "items": [
                {k: v for k, v in each.items() if k not in ("kind", "apiVersion")}
                for each in found[start:stop]
            ],
        }

    def watch(
        self, query: Query, target: Target, transport: asyncio.Transport
    ) -> AsyncIterator[bytes]:
        matches = self._selector(query, target.kind)
        if target.name:  # a watch of one object
            name = target.name

            def matches_name(found: Object) -> bool:
                return bool(found["metadata"]["name"] == name)

            chosen: Matches = matches_name
        else:
            chosen = matches
        asked = query.get("resourceVersion", "")
        begin: list[Written] = []
        first: list[Object] = []
        expired = False
        if asked in ("", "0"):
            # AC, "Semantics for watch": begins with an ADDED for everything there is.
            first = [
                each
                for each in self._store.select(target.kind.plural, target.namespace)
                if chosen(each)
            ]
        else:
            try:
                begin = list(self._store.since(int(asked)))
            except Expired:
                expired = True
        queue: asyncio.Queue[Written | str] = asyncio.Queue()
        for each in begin:
            queue.put_nowait(each)
        self._watchers.add(queue)
        seconds = float(query.get("timeoutSeconds") or 1800)
        bookmarks = query.get("allowWatchBookmarks") == "true"

        def event(kind: str, found: Object) -> bytes:
            whole = {"apiVersion": target.api_version, "kind": target.kind.kind} | found
            return json.dumps({"type": kind, "object": whole}).encode() + b"\n"

        async def stream() -> AsyncIterator[bytes]:
            self.open_watches += 1
            try:
                if expired:
                    # AC, "410 Gone": as an event where the watch was already accepted.
                    yield _expired(asked, self._store.compacted)
                    return
                for each in first:
                    yield event("ADDED", each)
                async with asyncio.timeout(seconds):
                    while True:
                        word = await queue.get()
                        if word == "cut":
                            transport.abort()
                            return
                        if word == "end":
                            return
                        if word == "bookmark":
                            if bookmarks:  # AC, "Watch bookmarks"
                                version = str(self._store.version)
                                yield event("BOOKMARK", {"metadata": {"resourceVersion": version}})
                        elif isinstance(word, Written):
                            kind = _seen(word, target, chosen)
                            if kind:
                                yield event(kind, word.last)
            except TimeoutError:
                return
            finally:
                self.open_watches -= 1
                self._watchers.discard(queue)

        return stream()

    def _heard(self, written: Written) -> None:
        for queue in self._watchers:
            queue.put_nowait(written)

    def tell(self, word: str) -> None:
        for queue in self._watchers:
            queue.put_nowait(word)


def _seen(written: Written, target: Target, matches: Matches) -> str:
    """What a watcher with this selector is told, "" for nothing: an object that comes to match is
    ADDED, one that no longer does is DELETED (apiserver/pkg/storage/cacher, sendWatchCacheEvent).
    """
    plural, namespace, _ = written.key
    if plural != target.kind.plural or (target.namespace and namespace != target.namespace):
        return ""
    before = written.old is not None and matches(written.old)
    now = written.new is not None and matches(written.new)
    return {(False, True): "ADDED", (True, True): "MODIFIED", (True, False): "DELETED"}.get(
        (before, now), ""
    )


def _expired(asked: str, compacted: int) -> bytes:
    refused = Refused(410, "Expired", f"too old resource version: {asked} ({compacted})")
    return json.dumps({"type": "ERROR", "object": status_object(refused)}).encode() + b"\n"

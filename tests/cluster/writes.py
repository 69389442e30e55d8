"""What a write makes of the store: create, update, patch, apply, delete, evict. No HTTP.

The rule: what is refused changes nothing. https://kubernetes.io/docs/reference/using-api/
api-concepts/ is AC below, .../server-side-apply/ is SSA; conventions are
https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/
api-conventions.md.
"""

import copy
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from tests.cluster import fields
from tests.cluster.kinds import Kind, Release
from tests.cluster.patches import BadPatch, json_patch, merge_patch, strategic_patch
from tests.cluster.store import Key, Object, Store


class Refused(Exception):
    """As a Status object says it (conventions, "Response Status Kind")."""

    def __init__(self, code: int, reason: str, message: str, details: Object | None = None) -> None:
        self.code, self.reason, self.message = code, reason, message
        self.details = details or {}
        super().__init__(message)


class Target(NamedTuple):
    kind: Kind
    version: str
    namespace: str
    name: str
    subresource: str = ""

    @property
    def key(self) -> Key:
        return self.kind.plural, self.namespace, self.name

    @property
    def api_version(self) -> str:
        return self.kind.api_version(self.version)

    def details(self) -> Object:
        return {"name": self.name, "group": self.kind.group, "kind": self.kind.plural}

    @property
    def quoted(self) -> str:
        group = f".{self.kind.group}" if self.kind.group else ""
        return f'{self.kind.plural}{group} "{self.name}"'


class How(NamedTuple):
    """`manager` is the query's fieldManager, or what stands before "/" in the User-Agent (SSA,
    "Managers")."""

    manager: str
    dry_run: bool = False
    force: bool = False


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Writes:
    def __init__(self, store: Store, release: Release) -> None:
        self._store, self._release = store, release

    def get(self, target: Target) -> Object:
        found = self._store.objects.get(target.key)
        if found is None:
            raise Refused(404, "NotFound", f"{target.quoted} not found", target.details())
        return found

    def create(self, target: Target, body: Object, how: How) -> Object:
        name = body.get("metadata", {}).get("name", "")
        if not name:
            raise Refused(422, "Invalid", "metadata.name: Required value: name is required")
        target = target._replace(name=name)
        if target.key in self._store.objects:
            message = f"{target.quoted} already exists"
            raise Refused(409, "AlreadyExists", message, target.details())
        if body["metadata"].get("resourceVersion"):
            message = "resourceVersion should not be set on objects to be created"
            raise Refused(500, "InternalError", message)
        fresh = self._born(target, body)
        # conventions, "Spec and Status": POST and PUT to the main resource ignore status; nodes
        # and pods are the ones that keep a status of their creator (Node) or begin Pending (Pod).
        if target.kind.kind == "Pod":
            fresh["status"] = {"phase": "Pending", "qosClass": "BestEffort"}
        if target.kind.kind == "Node":  # admission-controllers, "TaintNodesByCondition"
            taints = fresh.setdefault("spec", {}).setdefault("taints", [])
            taints.append({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"})
        owner = self._owner(target, how, "Update")
        kept = fields.updated({}, fresh, owner, [])
        return self._keep(target, None, fresh, kept, how)

    def update(self, target: Target, body: Object, how: How) -> Object:
        live = self._store.objects.get(target.key)
        if live is None:
            if target.kind.made_by_put and not target.subresource:
                return self.create(target, body, how)
            raise Refused(404, "NotFound", f"{target.quoted} not found", target.details())
        if not target.kind.unconditional and not body.get("metadata", {}).get("resourceVersion"):
            message = (
                f"{target.quoted} is invalid: metadata.resourceVersion: Invalid value: 0x0: "
                "must be specified for an update"
            )
            raise Refused(422, "Invalid", message, target.details())
        return self._replace(target, live, body, how)

    def patch(self, target: Target, kind: str, patch: Any, how: How) -> Object:
        live = self.get(target)
        try:
            if kind == "application/json-patch+json":
                body = json_patch(live, patch)
            elif kind == "application/merge-patch+json":
                body = merge_patch(live, patch)
            else:
                body = strategic_patch(live, patch)
        except BadPatch as error:
            # apiserver/pkg/endpoints/handlers/patch.go (applyJSPatch): 422 where it does not
            # apply, a failed "test" among that.
            raise Refused(422, "Invalid", str(error), target.details()) from error
        return self._replace(target, live, body, how, 422)

    def apply(self, target: Target, body: Object, how: How, named: bool) -> Object:
        """`named`: the query has a fieldManager, which an apply must have (SSA)."""
        if not named:
            message = (
                'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is '
                "required for apply patch"
            )
            raise Refused(422, "Invalid", message)
        meta = body.get("metadata", {})
        if "managedFields" in meta:  # SSA: must be nil
            raise Refused(400, "BadRequest", "metadata.managedFields must be nil")
        for key, want in (("apiVersion", target.api_version), ("kind", target.kind.kind)):
            if body.get(key) != want:
                message = f"invalid object: {key} {body.get(key)}, want {want}"
                raise Refused(400, "BadRequest", message)
        if meta.get("name") != target.name:
            message = f"the name of the object ({target.name} based on URL) was undeterminable"
            raise Refused(400, "BadRequest", message)
        live = self._store.objects.get(target.key)
        owner = self._owner(target, how, "Apply")
        if live is None:
            if target.subresource:
                raise Refused(404, "NotFound", f"{target.quoted} not found", target.details())
            if meta.get("uid"):
                raise self._conflict(target, "uid mismatch: no existing object was found")
            # A resourceVersion in it does not keep it from being made; seen on a real 1.20.
            fresh = self._born(target, body)
            fresh["metadata"].pop("resourceVersion", None)
            owner.paths = set(fields.leaves(body))
            return self._keep(target, None, fresh, [owner], how)
        self._same(target, live, meta, 422)
        entries = fields.owners(live)
        if not entries:  # nobody was kept account of, see _keep
            first = fields.Owner("before-first-apply", "Update", target.api_version, "")
            first.paths = set(fields.leaves(live))
            entries = [first]
        for index, each in enumerate(entries):
            if each.identity == owner.identity:
                each.time, owner = each.time, entries.pop(index)
                break
        wanted = _only(body, target)
        try:
            result, kept = fields.applied(live, wanted, owner, entries, how.force)
        except fields.Conflict as error:
            causes = [
                {"reason": "FieldManagerConflict", "message": text, "field": place}
                for place, text in error.causes
            ]
            text = causes[0]["message"] if len(causes) == 1 else "conflicts"
            many = f"{len(causes)} conflict{'s' if len(causes) > 1 else ''}"
            places = ", ".join(each["field"] for each in causes)
            message = f"Apply failed with {many}: {text}: {places}"
            raise Refused(409, "Conflict", message, {"causes": causes}) from error
        return self._keep(target, live, result, kept, how)

    def delete(self, target: Target, options: Mapping[str, Any], how: How) -> Object:
        live = self.get(target)
        uid = options.get("preconditions", {}).get("uid")
        if uid and uid != live["metadata"]["uid"]:
            message = (
                f"Precondition failed: UID in precondition: {uid}, "
                f"UID in object meta: {live['metadata']['uid']}"
            )
            raise self._conflict(target, message)
        if how.dry_run:
            return live
        grace = options.get("gracePeriodSeconds")
        # docs/concepts/workloads/pods/pod-lifecycle, "Pod termination": what is on a node stays
        # until its kubelet is done; what is on none goes at once.
        if target.kind.kind == "Pod" and live.get("spec", {}).get("nodeName") and grace != 0:
            ending = copy.deepcopy(live)
            seconds = live["spec"].get("terminationGracePeriodSeconds", 30)
            ending["metadata"]["deletionTimestamp"] = now()
            ending["metadata"]["deletionGracePeriodSeconds"] = seconds if grace is None else grace
            return self._store.write(target.key, ending)
        return self._store.write(target.key, None)

    def evict(self, target: Target, body: Object, want_version: str, how: How) -> None:
        """docs/concepts/scheduling-eviction/api-eviction, "How API-initiated eviction works"."""
        if body.get("apiVersion") != f"policy/{want_version}" or body.get("kind") != "Eviction":
            message = f"no kind Eviction is registered for version {body.get('apiVersion')}"
            raise Refused(400, "BadRequest", message)
        live = self.get(target)
        labels = live["metadata"].get("labels", {}).items()
        for (plural, namespace, name), budget in self._store.objects.items():
            if plural != "poddisruptionbudgets" or namespace != target.namespace:
                continue
            wanted = budget.get("spec", {}).get("selector", {}).get("matchLabels", {})
            # No controller runs here, so no budget has been looked at, and each forbids.
            if wanted.items() <= labels:
                cause = {
                    "reason": "DisruptionBudget",
                    "message": f"The disruption budget {name} is still being processed by the "
                    "server.",
                }
                message = "Cannot evict pod as it would violate the pod's disruption budget."
                raise Refused(
                    429,
                    "TooManyRequests",
                    message,
                    {"causes": [cause], "retryAfterSeconds": 10},
                )
        options = body.get("deleteOptions") or {}
        dry_run = how.dry_run or options.get("dryRun") == ["All"]
        self.delete(target, options, how._replace(dry_run=dry_run))

    # What all writes have in common

    def _replace(
        self, target: Target, live: Object, body: Object, how: How, other_uid: int = 409
    ) -> Object:
        meta = body.get("metadata", {})
        self._same(target, live, meta, other_uid)
        result = _only(body, target)
        if target.subresource:
            result = live | result
        # pkg/registry/core/node/strategy.go, pod/strategy.go: the main resource keeps the status,
        # /status keeps the spec; both take metadata.
        for part in ("spec", "status"):
            of_status = part == "status"
            if target.kind.status and of_status != (target.subresource == "status"):
                result = {k: v for k, v in result.items() if k != part}
                if part in live:
                    result[part] = live[part]
        owner = self._owner(target, how, "Update")
        entries = fields.owners(live)
        for index, each in enumerate(entries):
            if each.identity == owner.identity:
                owner = entries.pop(index)
                break
        kept = fields.updated(live, result, owner, entries)
        return self._keep(target, live, result, kept, how)

    def _same(self, target: Target, live: Object, meta: Mapping[str, Any], other_uid: int) -> None:
        """AC, "Resource versions": a write that names another version conflicts (conventions,
        "Concurrency Control and Consistency"). Another uid is a precondition (409) to PUT, and a
        field that cannot be changed (422) to patches; seen on a real 1.20."""
        version = meta.get("resourceVersion")
        if version and version != live["metadata"]["resourceVersion"]:
            message = (
                f"Operation cannot be fulfilled on {target.quoted}: the object has been modified; "
                "please apply your changes to the latest version and try again"
            )
            raise self._conflict(target, message)
        uid = meta.get("uid")
        if uid and uid != live["metadata"]["uid"]:
            if other_uid == 422:
                text = f'metadata.uid: Invalid value: "{uid}": field is immutable'
                message = f"{target.quoted} is invalid: {text}"
                raise Refused(422, "Invalid", message, target.details())
            message = (
                f"Precondition failed: UID in precondition: {uid}, "
                f"UID in object meta: {live['metadata']['uid']}"
            )
            raise self._conflict(target, message)

    def _conflict(self, target: Target, message: str) -> Refused:
        return Refused(409, "Conflict", message, target.details())

    def _owner(self, target: Target, how: How, operation: str) -> fields.Owner:
        return fields.Owner(how.manager, operation, target.api_version, target.subresource)

    def _born(self, target: Target, body: Object) -> Object:
        fresh = copy.deepcopy(body)
        fresh["apiVersion"], fresh["kind"] = target.api_version, target.kind.kind
        fresh["metadata"] = fresh.get("metadata", {}) | {
            "name": target.name,
            "uid": str(uuid.uuid4()),
            "creationTimestamp": now(),
        }
        if target.kind.namespaced:
            fresh["metadata"]["namespace"] = target.namespace
        return fresh

    def _keep(
        self,
        target: Target,
        live: Object | None,
        result: Object,
        kept: list[fields.Owner],
        how: How,
    ) -> Object:
        result = _tidy(result)
        meta = result["metadata"]
        if live is not None:
            for name in ("uid", "name", "namespace", "creationTimestamp", "resourceVersion"):
                if name in live["metadata"]:
                    meta[name] = live["metadata"][name]
            before = {(each.identity, frozenset(each.paths)) for each in fields.owners(live)}
            same_owners = before == {(each.identity, frozenset(each.paths)) for each in kept}
            if same_owners and _without_owners(live) == _without_owners(result):
                return live  # AC: a write that changes nothing makes no new version
            for each in kept:
                if (each.identity, frozenset(each.paths)) not in before:
                    each.time = now()
        # Up to 1.20 no account is kept of an object that nobody has applied to yet; at the first
        # apply, all that there is belongs to "before-first-apply"
        # (apiserver/pkg/endpoints/handlers/fieldmanager/skipnonapplied.go).
        if self._release == "1.20" and not any(each.operation == "Apply" for each in kept):
            tracked = live is not None and bool(live["metadata"].get("managedFields"))
            kept = kept if tracked else []
        for each in kept:
            each.time = each.time or now()
        meta["managedFields"] = fields.managed_fields(kept)
        if not kept:
            del meta["managedFields"]
        if how.dry_run:  # AC, "Dry-run"
            return result
        return self._store.write(target.key, result)


def _only(body: Object, target: Target) -> Object:
    """conventions: /status takes status (and metadata) of what it is given, nothing else."""
    if target.subresource != "status":
        return dict(body)
    return {k: v for k, v in body.items() if k in ("apiVersion", "kind", "metadata", "status")}


def _without_owners(found: Object) -> Object:
    meta = {k: v for k, v in found["metadata"].items() if k != "managedFields"}
    return found | {"metadata": meta}


def _tidy(found: Object) -> Object:
    """Go's omitempty: empty labels, annotations, taints and the like are not written."""
    result = copy.deepcopy(found)
    for part in ("metadata", "spec", "status"):
        inner = result.get(part)
        if isinstance(inner, dict):
            result[part] = {k: v for k, v in inner.items() if v not in ({}, [], None)}
    return result

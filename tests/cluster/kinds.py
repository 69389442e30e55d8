"""The resources that the test API server has, and in which versions a cluster has them.

https://kubernetes.io/docs/reference/using-api/deprecation-guide/ says when versions came and went.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

Release = Literal["1.20", "current"]


class Kind(NamedTuple):
    """`unconditional`: may be replaced without a resourceVersion; `made_by_put`: PUT makes it
    (strategy.go of each in pkg/registry: AllowUnconditionalUpdate, AllowCreateOnUpdate)."""

    group: str
    versions: Mapping[Release, tuple[str, ...]]
    kind: str
    plural: str
    namespaced: bool
    status: bool = False
    unconditional: bool = True
    made_by_put: bool = False

    def api_version(self, version: str) -> str:
        return f"{self.group}/{version}" if self.group else version


_ALWAYS: Mapping[Release, tuple[str, ...]] = {"1.20": ("v1",), "current": ("v1",)}
# EndpointSlice and PodDisruptionBudget: v1 since 1.21, v1beta1 until 1.24.
_LATER: Mapping[Release, tuple[str, ...]] = {"1.20": ("v1beta1",), "current": ("v1",)}
KINDS: Mapping[str, Kind] = {
    each.plural: each
    for each in (
        Kind("", _ALWAYS, "Node", "nodes", False, status=True),
        Kind("", _ALWAYS, "Pod", "pods", True, status=True),
        Kind(
            "coordination.k8s.io",
            _ALWAYS,
            "Lease",
            "leases",
            True,
            unconditional=False,
            made_by_put=True,
        ),
        Kind("discovery.k8s.io", _LATER, "EndpointSlice", "endpointslices", True),
        Kind("policy", _LATER, "PodDisruptionBudget", "poddisruptionbudgets", True, status=True),
    )
}


def eviction_version(release: Release) -> str:
    """Eviction in policy/v1 since 1.22 (deprecation guide, v1.25: PodDisruptionBudget)."""
    return "v1beta1" if release == "1.20" else "v1"

"""pod: a cgroup's path as what Kubernetes put there: pod uid, container id, QoS class, class.

What paths say is read by exporter.host.kubepods; this gives one of its fields. Asks nobody.
"""

from collections.abc import Callable, Mapping
from typing import Literal

from exporter.host.kubepods import PodPath, read_path

PodField = Literal["uid", "container", "qos", "class"]

UNKNOWN_CGROUP = "unknown_cgroup_id:"
"""How the decoder `cgroup` begins where it found no path."""

_UNKNOWN = PodPath("", "", "", "unknown")

_FIELDS: Mapping[str, Callable[[PodPath], str]] = {
    "uid": lambda pod: pod.uid,
    "container": lambda pod: pod.container,
    "qos": lambda pod: pod.qos,
    "class": lambda pod: pod.kind,
}


class Pod:
    def __init__(self, field: PodField) -> None:
        self._field = _FIELDS[field]

    def rewrite(self, path: str) -> str:
        return self._field(_UNKNOWN if path.startswith(UNKNOWN_CGROUP) else read_path(path))

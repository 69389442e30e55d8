"""cgroup: a cgroup id (u64, as decimal text) as its path ("/sys/fs/cgroup/system.slice/…").

Ids of different hierarchies overlap, so `controller` says whose id it is; without it the unified
(v2) hierarchy, which is what bpf_get_current_cgroup_id() speaks of.
"""

from exporter.decoders.cgroup_paths import CgroupPaths
from exporter.decoders.provisional import Provisional
from exporter.decoders.uint import parse


class Cgroup:
    def __init__(self, paths: CgroupPaths, controller: str) -> None:
        self._paths = paths
        self._controller = controller

    def rewrite(self, text: str) -> str:
        number = parse("cgroup", text)
        return self._paths.path(number, self._controller) or Provisional(
            f"unknown_cgroup_id:{number}"
        )

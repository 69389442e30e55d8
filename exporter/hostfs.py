"""Where the host's files are: /proc, /sys, cgroups and / may be mounted elsewhere in a container.

Every reader of kernel text gets a HostFs, so a folder of files stands in for a machine in tests.
"""

from pathlib import Path
from typing import NamedTuple


class HostFs(NamedTuple):
    """The four roots; the defaults are a host's own. Tests make one over a folder of files.
    `own` is where the agent's own libraries are: in a container its image, not the host's root."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    cgroup: Path = Path("/sys/fs/cgroup")
    root: Path = Path("/")
    own: Path = Path("/")

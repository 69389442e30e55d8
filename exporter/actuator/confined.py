"""What the actuator lets go of before it does anything: all but writing cgroups and its journal.

With commands it keeps everything: they are the administrator's own programs, run as they would be
without kernmesh. Mechanisms that are missing are the agent's to tell, which lacks them too.
"""

from contextlib import suppress
from pathlib import Path

from exporter.actuator.protocol import Start
from exporter.host.mounts import cgroup_mounts
from exporter.hostfs import HostFs
from exporter.privileges import places
from exporter.privileges.capabilities import NUMBERS
from exporter.privileges.landlock import Places
from exporter.privileges.letting_go import Needs, Privileges

# Cgroups that are another user's (delegated ones); processes with more rights than we have, into a
# cgroup with cpuset (kernel/cgroup/cpuset.c: cpuset_can_attach()).
_KEPT = ("CAP_DAC_OVERRIDE", "CAP_SYS_NICE")


def confine(start: Start) -> None:
    """This process and the workers that it forks. Raises nothing."""
    privileges = Privileges(start.drop and not start.commands, said=False)
    host = HostFs(Path(start.proc), Path(start.sys), Path(start.cgroup), Path(start.root))
    state = Path(start.state_dir).absolute() if start.state_dir is not None else None
    if state is not None:
        with suppress(OSError):  # the journal says so
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
    mounts = [mount.folder for mount in cgroup_mounts(host)]
    privileges.confine(
        Needs(
            capabilities=frozenset(NUMBERS[name] for name in _KEPT),
            places=Places(
                read=tuple(places.everywhere(host)),
                write=(places.NULL,) if state is None else (places.NULL, state),
                change=(host.cgroup, *mounts),
                ports=(),
            ),
            processes=True,
            network=False,
        )
    )
    privileges.seal()

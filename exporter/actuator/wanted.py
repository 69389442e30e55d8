"""What the actuator is told at its start, from agent.yaml; whether one is wanted at all."""

from exporter.actuator.cgroups import NotAllowed, Roots, parts_of
from exporter.actuator.protocol import Start, encode, read_start
from exporter.config import AgentConfig
from exporter.errors import KernmeshError
from exporter.hostfs import HostFs
from exporter.usage.jobs_file import job_patterns


def start_of(config: AgentConfig, host: HostFs = HostFs()) -> Start | None:  # noqa: B008 # a value
    """None where nothing would be asked; a dry run asks too, what would be done. Raises ConfigError
    where usage.jobs_file is bad, KernmeshError where a root or a job cannot be a cgroup's name.

    Pods outside of the offline cgroups may be named only where the API says which are offline:
    names from paths tell nothing of annotations."""
    usage, interference = config.usage, config.interference
    jobs: tuple[str, ...] = ()
    if usage.jobs_in_cgroups:
        patterns = job_patterns(usage.jobs, usage.jobs_file)
        jobs = tuple(pattern.name for pattern in patterns if pattern.movable)
    if interference.rules is None and not jobs:
        return None
    start = Start(
        state_dir=usage.state_dir,
        roots=tuple(usage.offline.cgroups),
        pods=usage.pods.names == "api" and bool(usage.offline.annotations),
        jobs=jobs,
        commands=interference.commands,
        drop=config.privileges.drop,
        proc=str(host.proc),
        sys=str(host.sys),
        cgroup=str(host.cgroup),
        root=str(host.root),
    )
    try:
        Roots(start.roots, start.pods)
        for job in jobs:
            if len(parts_of(job)) != 1:
                raise NotAllowed(f"job {job!r}: with / in its name it cannot have a cgroup")
        return read_start(encode(start))
    except (NotAllowed, ValueError) as error:
        raise KernmeshError(f"usage.offline.cgroups, usage.jobs: {error}") from None

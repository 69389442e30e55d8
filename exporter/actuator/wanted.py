"""What the actuator is told at its start, from agent.yaml; whether one is wanted at all."""

from exporter.actuator.protocol import Start
from exporter.config import AgentConfig
from exporter.hostfs import HostFs
from exporter.usage.jobs_file import job_patterns


def start_of(config: AgentConfig, host: HostFs = HostFs()) -> Start | None:  # noqa: B008 # a value
    """None where nothing would ever be asked. Raises ConfigError where usage.jobs_file is bad.

    Pods outside of the offline cgroups may be named only where the API says which are offline:
    names from paths tell nothing of annotations."""
    usage, interference = config.usage, config.interference
    jobs: tuple[str, ...] = ()
    if usage.jobs_in_cgroups:
        patterns = job_patterns(usage.jobs, usage.jobs_file)
        jobs = tuple(pattern.name for pattern in patterns if pattern.movable)
    if interference.rules is None and not jobs:
        return None
    return Start(
        state_dir=usage.state_dir,
        roots=tuple(usage.offline.cgroups),
        pods=usage.pods.names == "api" and bool(usage.offline.annotations),
        jobs=jobs,
        commands=interference.commands,
        proc=str(host.proc),
        sys=str(host.sys),
        cgroup=str(host.cgroup),
        root=str(host.root),
    )

"""Processes of the soak: each in a cgroup of its own name, with a log, gone when the soak is.

Start them from the main thread: the kernel ends them when the thread that started them ends
(PR_SET_PDEATHSIG, prctl(2)).
"""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.soak.ground import Ground

_END_SECONDS = 30.0


def start(
    ground: Ground,
    cgroup: str,
    argv: Sequence[str | Path],
    log: Path,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Runs in that cgroup from its first instruction on; both outputs are added to the log."""
    joins = " && ".join(
        f'echo $$ > "{place / cgroup}/cgroup.procs"' for place in ground.hierarchies()
    )
    with log.open("ab") as output:
        return subprocess.Popen(
            ["/bin/sh", "-c", f'{joins} && exec setpriv --pdeathsig KILL "$@"', "sh", *argv],
            env={**os.environ, **(env or {})},
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


class Child:
    """One that may be killed and comes back, always the same."""

    def __init__(
        self, ground: Ground, name: str, argv: Sequence[str | Path], env: Mapping[str, str]
    ) -> None:
        self.name, self.log = name, ground.folder / "work" / f"{name}.log"
        self._ground, self._argv, self._env = ground, argv, env
        self._cgroup = f"kernmesh-soak/load/{name}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        if not self.runs:
            self._ground.make_cgroup(self._cgroup)
            self._process = start(self._ground, self._cgroup, self._argv, self.log, self._env)

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None and self.runs:
            self._process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(_END_SECONDS)

    def end(self) -> int | None:
        """As it is told to end by SIGTERM; killed where it does not. Its exit code."""
        if self._process is None:
            return None
        self.signal(signal.SIGTERM)
        try:
            return self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

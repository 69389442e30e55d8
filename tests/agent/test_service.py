"""A whole agent as systemd starts it: on a socket that it was handed, saying how it goes."""

import signal
import socket
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.agent.running import running

# What systemd does between fork and exec: the socket at 3, and whom it is for.
_HANDS_OVER = """
import os, socket, sys
os.dup2(socket.create_server(("127.0.0.1", 0)).detach(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.bpf
def test_an_agent_of_systemd_serves_on_its_socket_and_says_how_it_goes(tmp_path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)

        def heard() -> str:
            """The next word that is no sign of life."""
            while (said := manager.recv(4096).decode().split("\n")[0]) == "WATCHDOG=1":
                continue
            return said

        prefix = (
            *("env", f"NOTIFY_SOCKET={manager.getsockname()}", "WATCHDOG_USEC=2000000"),
            *(sys.executable, "-c", _HANDS_OVER),
        )
        with running(listen="127.0.0.1:1", prefix=prefix) as agent:  # which nobody may bind
            assert heard() == "READY=1"
            assert agent.get("/-/ready") == "kernmesh is ready.\n"
            agent.signal(signal.SIGHUP)
            assert (heard(), heard()) == ("RELOADING=1", "READY=1")
            assert agent.stop() == 0
            assert heard() == "STOPPING=1"

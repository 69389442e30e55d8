"""Real servers to probe, from .cache/peers (the Makefile unpacks them): nginx, dnsmasq, chronyd.

They run in the foreground on loopback ports of their own and end with the test; chronyd with -x,
which leaves the clock alone.
"""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.peers import PEERS, environment, free_port
from tests.pki import Pair

WATCHDOG_SECONDS = 30.0


@contextmanager
def running(
    folder: Path, command: list[str], ready: Callable[[], bool]
) -> Iterator[subprocess.Popen[bytes]]:
    """Until `ready`; ended by its own process id."""
    program = PEERS / "usr/sbin" / command[0]
    assert program.exists(), f"{program} is missing: make .cache/peers/.targets"
    log = folder / f"{command[0]}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(program), *command[1:]], env=environment(), stdout=output, stderr=output
        )
    try:
        ends = time.monotonic() + WATCHDOG_SECONDS
        while not ready():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < ends, log.read_text()
            time.sleep(0.02)  # between polls of another process, not a synchronisation
        yield process
    finally:
        process.kill()
        process.wait()


def connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


@contextmanager
def nginx(folder: Path, certificate: Pair) -> Iterator[int]:
    """https on this port, with /ok, /missing, /moved, and /slow, whose answer does not come."""
    port, silent = free_port(), socket.create_server(("127.0.0.1", 0))
    (folder / "ok").write_text("all is well\n")
    config = folder / "nginx.conf"
    config.write_text(
        "daemon off; master_process off; user root; worker_processes 1;\n"
        f"pid {folder}/nginx.pid; error_log stderr;\n"
        "events {}\n"
        "http {\n"
        f"  access_log off; client_body_temp_path {folder}/body;\n"
        f"  proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;\n"
        f"  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;\n"
        f"  server {{ listen 127.0.0.1:{port} ssl http2; root {folder};\n"
        f"    ssl_certificate {certificate.cert}; ssl_certificate_key {certificate.key};\n"
        "    location = /moved { return 302 https://127.0.0.1:1/; }\n"
        f"    location = /slow {{ proxy_pass http://127.0.0.1:{silent.getsockname()[1]}; }}\n"
        "  }\n}\n"
    )
    with silent, running(folder, ["nginx", "-c", str(config)], lambda: connects(port)):
        yield port


@contextmanager
def dnsmasq(folder: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Knows node.example (A, AAAA, TXT), says that nothing else exists; UDP and TCP."""
    port = free_port()
    command = [
        *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"),
        *("--no-daemon", "--bind-interfaces", "--listen-address=127.0.0.1", f"--port={port}"),
        *("--user=root", f"--pid-file={folder}/dnsmasq.pid", "--local=/example/", "--no-poll"),
        *("--host-record=node.example,10.1.2.3,fd00::3", "--txt-record=node.example,hello"),
    ]
    with running(folder, command, lambda: connects(port)) as process:
        yield port, process


@contextmanager
def chronyd(folder: Path, stratum: int | None = 3) -> Iterator[int]:
    """An NTP server by this machine's own clock; `stratum` None: it knows no time."""
    port = free_port(socket.SOCK_DGRAM)
    config = folder / "chrony.conf"
    config.write_text(
        f"port {port}\nbindaddress 127.0.0.1\nallow 127.0.0.0/8\ncmdport 0\nbindcmdaddress /\n"
        f"pidfile {folder}/chronyd.pid\n" + (f"local stratum {stratum}\n" if stratum else "")
    )

    def answers() -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.2)
            try:
                sock.connect(("127.0.0.1", port))
                sock.send(b"\x23" + bytes(47))
                return len(sock.recv(100)) == 48
            except OSError:
                return False

    command = ["chronyd", "-x", "-d", "-u", "root", "-f", str(config)]
    with running(folder, command, answers):
        yield port

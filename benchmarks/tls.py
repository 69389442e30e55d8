"""What TLS costs a scrape: two agents side by side, one behind TLS with a password, asked in turn.

Over a kept connection, as Prometheus has it, and over a new one each time, which is what a
handshake costs both ends.
"""

import http.client
import ssl
import tempfile
import time
from base64 import b64encode
from pathlib import Path
from statistics import median

import bcrypt

from benchmarks.process import resident_mb
from benchmarks.tables import NO_GOALS, Table, show
from tests.agent.running import Agent, running
from tests.pki import authority, signed

ROUNDS = 41
SECONDS_BETWEEN = 0.2
HEADERS = {"Authorization": "Basic " + b64encode(b"prometheus:secret").decode()}


def connect(agent: Agent, context: ssl.SSLContext | None) -> http.client.HTTPConnection:
    where = agent.url.partition("://")[2]
    if context is None:
        return http.client.HTTPConnection(where)
    return http.client.HTTPSConnection(where, context=context)


def ask(client: http.client.HTTPConnection, path: str = "/metrics") -> tuple[float, int]:
    """Milliseconds, and the series that came."""
    started = time.perf_counter()
    client.request("GET", path, headers={"Accept-Encoding": "identity"} | HEADERS)
    answer = client.getresponse()
    body = answer.read()
    assert answer.status == 200, answer.status
    took = (time.perf_counter() - started) * 1000
    return took, sum(not line.startswith(b"#") for line in body.splitlines())


def measure() -> Table:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        signed(folder, "server", authority(folder, "ca"))
        hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(10)).decode()
        web = folder / "web.yml"
        web.write_text(
            "tls_server_config: {cert_file: server.pem, key_file: server.key}\n"
            f"basic_auth_users: {{prometheus: {hashed}}}\n"
        )
        config = folder / "agent.yaml"
        config.write_text("ebpf: {programs: all}\npingmesh: {responder: false}\n")
        context = ssl.create_default_context(cafile=folder / "ca.pem")
        with (
            running("--config", config) as plain,
            running("--config", config, "--web.config.file", web) as secure,
        ):
            sides = ((plain, None), (secure, context))
            for agent, _ in sides:
                agent.wait_for(lambda started: "metrics:" in started.screen)
            kept = [connect(*side) for side in sides]
            first = [ask(client, "/-/ready")[0] for client in kept]
            for client in kept:
                ask(client)
            resident = [resident_mb(agent.process.pid) for agent, _ in sides]
            times: tuple[list[float], ...] = ([], [], [], [])
            series = 0
            for _ in range(ROUNDS):
                for index, (agent, tls) in enumerate(sides):
                    time.sleep(SECONDS_BETWEEN)
                    took, series = ask(kept[index])
                    times[index].append(took)
                    started = time.perf_counter()
                    client = connect(agent, tls)
                    client.connect()
                    times[2 + index].append((time.perf_counter() - started) * 1000)
                    client.close()
    in_order = [(min(each), median(each)) for each in times]
    rows = (
        ("a scrape, kept connection", _both(in_order[0]), _both(in_order[1])),
        ("a new connection", _both(in_order[2]), _both(in_order[3])),
        ("the first request (a password is hashed)", f"{first[0]:.0f} ms", f"{first[1]:.0f} ms"),
        ("RSS", f"{resident[0]:.1f} MB", f"{resident[1]:.1f} MB"),
    )
    return Table(
        "A scrape behind TLS",
        ("what", "plain", "TLS and a password"),
        rows,
        (
            f"All programs, {series:,} series, the least and the median of {ROUNDS} at the client, "
            "both agents in turn. TLS 1.3, P-256, AES-256-GCM; bcrypt's cost is 10. A new "
            f"connection is TCP alone, or TCP and a whole handshake, without a request. {NO_GOALS}",
        ),
    )


def _both(found: tuple[float, float]) -> str:
    return f"{found[0]:.1f} / {found[1]:.1f} ms"


if __name__ == "__main__":
    show([measure()])

"""Pulls over TLS from a real server: whom the agent trusts, and how it says who it is."""

import asyncio
import http.server
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from exporter.config.client import ClientTls
from exporter.errors import KernmeshError
from exporter.testing import FakeClock
from pingmesh.agent import Mesh
from pingmesh.guard import Guard
from pingmesh.source import PullSource, Read, SourceError
from tests.pki import Pair, authority, for_server, signed

LIST = b"mesh: {a: {ips: [127.0.0.1]}}\n"


class Certificates(NamedTuple):
    ca: Pair
    other_ca: Pair
    server: Pair
    expired: Pair
    elsewhere: Pair
    client: Pair
    expired_client: Pair


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("pki")
    ca, other = authority(folder, "ca"), authority(folder, "other")
    return Certificates(
        ca,
        other,
        signed(folder, "server", ca),
        signed(folder, "expired", ca, days=-1),
        signed(folder, "elsewhere", ca, names="DNS:mesh.example"),
        signed(folder, "client", ca, names="DNS:node-a"),
        signed(folder, "expired-client", ca, names="DNS:node-a", days=-1),
    )


class Served:
    """What a server was asked, and with which certificate."""

    def __init__(self) -> None:
        self.heads: list[Mapping[str, str]] = []
        self.clients: list[Any] = []
        self.wanted: str | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"


@contextmanager
def serving(pair: Pair, client_ca: Path | None = None) -> Iterator[Served]:
    """An https server, which wants certificates of `client_ca` where that is given."""
    served = Served()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            served.heads.append(dict(self.headers))
            connection: Any = self.connection
            served.clients.append(connection.getpeercert())
            allowed = served.wanted in (None, self.headers.get("Authorization"))
            body = LIST if allowed else b""
            self.send_response(200 if allowed else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def finish_request(self, request: Any, client_address: Any) -> None:
            # The handshake is this thread's, so that nobody who hangs up ends the server.
            try:
                with context.wrap_socket(request.dup(), server_side=True) as secure:
                    super().finish_request(secure, client_address)
            except ssl.SSLError:
                # Closed with something unread, the alert would be lost.
                request.shutdown(socket.SHUT_WR)
                while request.recv(4096):
                    pass
                raise

        def handle_error(self, *_: Any) -> None:
            """Clients that refuse us are what the tests are about."""

    context = for_server(pair, client_ca)
    server = Server(("127.0.0.1", 0), Handler)
    served.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()


def pull(source: PullSource) -> Read | None:
    async def main() -> Read | None:
        try:
            return await source.read()
        finally:
            await source.close()

    return asyncio.run(main())


def failure(source: PullSource) -> tuple[str, str]:
    """Reason, and the line without the place."""
    with pytest.raises(SourceError) as caught:
        pull(source)
    text = str(caught.value)
    assert "\n" not in text
    return caught.value.reason, text.removeprefix(f"{source.name}: ")


def test_a_private_ca_is_trusted_and_nothing_else_is_sent(pki: Certificates) -> None:
    with serving(pki.server) as served:
        found = pull(PullSource(served.url, "n", tls=ClientTls(ca_file=str(pki.ca.cert))))
    assert found is not None
    assert "Authorization" not in served.heads[0]
    assert not served.clients[0]


@pytest.mark.parametrize(
    ("server", "tls", "problem"),
    [
        ("server", {}, "local issuer certificate (is pingmesh.tls.ca_file of its CA?)"),
        ("server", {"ca_file": "other_ca"}, "unable to get local issuer certificate"),
        ("expired", {"ca_file": "ca"}, "certificate has expired"),
        ("elsewhere", {"ca_file": "ca"}, "certificate is not valid for 'localhost'"),
        ("server", {"ca_file": "ca", "server_name": "mesh.example"}, "Hostname mismatch"),
    ],
)  # fmt: skip
def test_a_controller_that_cannot_be_trusted_is_refused_in_one_line(
    pki: Certificates, server: str, tls: dict[str, str], problem: str
) -> None:
    if "ca_file" in tls:
        tls = tls | {"ca_file": str(getattr(pki, tls["ca_file"]).cert)}
    with serving(getattr(pki, server)) as served:
        reason, text = failure(PullSource(served.url, "n", tls=ClientTls(**tls)))  # type: ignore[arg-type]
    assert reason == "tls"
    assert text.startswith("its certificate is not to be trusted: ")
    assert problem in text
    assert served.heads == []


@pytest.mark.parametrize(
    "tls",
    [{"server_name": "mesh.example"}, {"insecure_skip_verify": True}],
    ids=["by another name", "unverified"],
)
def test_a_server_of_another_name_can_be_meant(pki: Certificates, tls: dict[str, Any]) -> None:
    with serving(pki.elsewhere) as served:
        made = ClientTls(ca_file=str(pki.ca.cert), **tls)
        assert pull(PullSource(served.url, "n", tls=made)) is not None


def test_an_agent_shows_its_certificate_to_who_wants_one(pki: Certificates) -> None:
    tls = ClientTls(
        ca_file=str(pki.ca.cert), cert_file=str(pki.client.cert), key_file=str(pki.client.key)
    )
    with serving(pki.server, client_ca=pki.ca.cert) as served:
        assert pull(PullSource(served.url, "n", tls=tls)) is not None
    assert served.clients[0]["subjectAltName"] == (("DNS", "node-a"),)


@pytest.mark.parametrize(
    ("client", "problem"),
    [
        (None, "it wants a certificate of ours: pingmesh.tls.cert_file and key_file"),
        ("expired_client", "it refuses us by a TLS alert: certificate expired"),
    ],
)
def test_who_is_refused_for_its_certificate_is_told_so(
    pki: Certificates, client: str | None, problem: str
) -> None:
    tls = ClientTls(ca_file=str(pki.ca.cert))
    if client is not None:
        pair = getattr(pki, client)
        tls = ClientTls(str(pki.ca.cert), str(pair.cert), str(pair.key))
    with serving(pki.server, client_ca=pki.ca.cert) as served:
        reason, text = failure(PullSource(served.url, "n", tls=tls))
    assert (reason, served.heads) == ("tls", [])
    assert text.startswith(problem)


def test_a_server_that_hangs_up_on_us_may_want_a_certificate(pki: Certificates) -> None:
    def cut() -> None:
        raw, _ = listener.accept()
        with context.wrap_socket(raw, server_side=True) as secure:
            secure.recv(1)
            secure.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pki.server)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=cut, daemon=True)
        thread.start()
        url = f"https://localhost:{listener.getsockname()[1]}"
        reason, text = failure(PullSource(url, "n", tls=ClientTls(str(pki.ca.cert))))
        thread.join()
    assert (reason, text) == (
        "answer",
        "the connection was cut before there was an answer (does it want another certificate? "
        "pingmesh.tls.cert_file)",
    )


def test_a_server_without_tls_is_told(pki: Certificates) -> None:
    class Plain(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Plain) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"https://localhost:{server.server_address[1]}"
        reason, text = failure(PullSource(url, "n", tls=ClientTls(str(pki.ca.cert))))
        server.shutdown()
    assert (reason, text) == ("tls", "it does not speak TLS (is it http://?)")


def replace(path: Path, data: bytes) -> None:
    """As a mounted Secret changes: at once."""
    new = path.with_suffix(".new")
    new.write_bytes(data)
    new.replace(path)


def test_certificates_are_read_again_when_they_change(pki: Certificates, tmp_path: Path) -> None:
    ca, cert, key = (tmp_path / name for name in ("ca.pem", "tls.crt", "tls.key"))
    for path, pair in ((ca, pki.other_ca.cert), (cert, pki.client.cert), (key, pki.client.key)):
        path.write_bytes(pair.read_bytes())
    with serving(pki.server, client_ca=pki.ca.cert) as served:

        async def main() -> list[str]:
            source = PullSource(served.url, "n", tls=ClientTls(str(ca), str(cert), str(key)))
            said = []
            for now in (None, (ca, pki.ca.cert), (cert, pki.server.cert), (key, pki.server.key)):
                if now is not None:
                    replace(now[0], now[1].read_bytes())
                try:
                    await source.read()
                    said.append("ok")
                except SourceError as error:
                    said.append(error.reason)
            await source.close()
            return said

        # Not its CA; its CA; a certificate whose key is yet to come; and both.
        assert asyncio.run(main()) == ["tls", "ok", "file", "ok"]
    names = [client["subjectAltName"][0][1] for client in served.clients]
    assert names == ["node-a", "localhost"]


def test_a_token_is_sent_as_its_file_says_at_each_pull(pki: Certificates, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one\n")
    with serving(pki.server) as served:
        served.wanted = "Bearer one"
        tls = ClientTls(str(pki.ca.cert))
        source = PullSource(served.url, "n", tls=tls, bearer_token_file=str(token))

        async def main() -> list[str]:
            said = []
            for text in ("one\n", "two", "one"):
                replace(token, text.encode())
                try:
                    await source.read()
                    said.append("ok")
                except SourceError as error:
                    said.append(f"{error.reason}: {error}")
            await source.close()
            return said

        assert asyncio.run(main()) == [
            "ok",
            f"auth: {source.name}: it does not let us in: HTTP 401",
            "ok",
        ]
    assert [head["Authorization"] for head in served.heads] == [
        "Bearer one",
        "Bearer two",
        "Bearer one",
    ]


@pytest.mark.parametrize(
    ("key", "content", "problem"),
    [
        ("ca_file", None, "tls.ca_file: {path}: No such file or directory"),
        ("ca_file", b"", "tls.ca_file: {path}: no certificate in PEM in it"),
        ("ca_file", b"\0\xff" * 100, "tls.ca_file: {path}: no certificate in PEM in it"),
        ("cert_file", None, "tls.cert_file: {path}: No such file or directory"),
        ("cert_file", b"x", "tls.cert_file: {path}: no certificate, or no unencrypted key in"),
        ("key_file", None, "tls.key_file: {path}: No such file or directory"),
        ("key_file", b"x", "tls.cert_file: "),
        ("token", None, "bearer_token_file: {path}: No such file or directory"),
        ("token", b" \n", "bearer_token_file: {path}: is empty, want a token in it"),
        ("token", b"a\nX-Evil: b", "bearer_token_file: {path}: holds no token"),
        ("token", "\u00fc".encode(), "bearer_token_file: {path}: holds no token"),
        ("token", b"a" * 70_000, "bearer_token_file: {path}: holds no token"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_and_nobody_is_asked(
    pki: Certificates, tmp_path: Path, key: str, content: bytes | None, problem: str
) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    files: dict[str, Any] = {
        "ca_file": str(pki.ca.cert),
        "cert_file": str(pki.client.cert),
        "key_file": str(pki.client.key),
    }
    token = str(path) if key == "token" else None
    if key != "token":
        files[key] = str(path)
    with serving(pki.server) as served:
        source = PullSource(served.url, "n", tls=ClientTls(**files), bearer_token_file=token)
        reason, text = failure(source)
    assert reason == "file"
    assert text.startswith("pingmesh." + problem.format(path=path))
    assert served.heads == []


def test_a_key_with_a_password_asks_nobody_for_it(pki: Certificates, tmp_path: Path) -> None:
    locked = tmp_path / "locked.key"
    words = ("ec", "-in", str(pki.client.key), "-aes128", "-passout", "pass:secret")
    subprocess.run(["openssl", *words, "-out", str(locked)], check=True, capture_output=True)
    tls = ClientTls(str(pki.ca.cert), str(pki.client.cert), str(locked))
    reason, text = failure(PullSource("https://localhost:1", "n", tls=tls))
    assert reason == "file"
    assert "no unencrypted key in" in text


def test_three_failures_for_tls_stop_probing_and_metrics_say_why(pki: Certificates) -> None:
    """Fail-closed as for any failed pull: the list that was good is not probed for ever."""

    class Turns(PullSource):
        """Without pauses, and `done` when there were enough."""

        def pause(self, failures: int) -> float:
            if failures == 0:
                bad.touch()
                replace(trusted, pki.other_ca.cert.read_bytes())
            if failures == 3:
                done.set()
                return 3600.0
            return 0.0

    bad = pki.ca.cert.with_name("bad")
    trusted = pki.ca.cert.with_name("trusted.pem")
    trusted.write_bytes(pki.ca.cert.read_bytes())
    done = asyncio.Event()

    async def main() -> tuple[dict[str, float], list[str]]:
        source = Turns(served.url, "n", tls=ClientTls(str(trusted)))
        mesh = Mesh(FakeClock(), source, Guard(), 100)
        task = asyncio.create_task(mesh.run())
        await done.wait()
        samples = {
            sample.name + "".join(sample.labels.values()): sample.value
            for family in mesh.collect()
            for sample in family.samples
        }
        task.cancel()
        await source.close()
        return samples, list(mesh.problems())

    with serving(pki.server) as served:
        samples, problems = asyncio.run(main())
    assert samples["pingmesh_probing"] == 0
    assert samples["pingmesh_pinglist_reads_totalnew"] == 1
    assert samples["pingmesh_pinglist_reads_totalfailed"] == 3
    assert samples["pingmesh_pinglist_failures_totaltls"] == 3
    [problem] = problems
    assert "3 failures in a row, so nothing is probed until it is back" in problem


def test_a_failure_is_an_error_like_any_other() -> None:
    assert issubclass(SourceError, KernmeshError)

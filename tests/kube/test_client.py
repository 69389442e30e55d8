"""What a client makes of an API server, and of what stands in between, that does not behave."""

import asyncio
import os
import ssl
import subprocess
import tracemalloc
from pathlib import Path

import pytest

from exporter.kube.access import Access, Material, read_kubeconfig
from exporter.kube.api import ENDPOINT_SLICES, LEASES, NODES, ApiError, every
from exporter.kube.client import KubeClient
from exporter.kube.transport import Asked
from tests.cluster.apiserver import ApiServer, api_server
from tests.cluster.faults import Fault
from tests.kube.asking import node, play, refusal
from tests.pki import Pair, for_server


@pytest.mark.parametrize(
    ("fault", "status", "retry_after", "text", "may_pass"),
    [
        (
            Fault("status", 429, "TooManyRequests", retry_after=7),
            429,
            7.0,
            "HTTP 429 TooManyRequests: told to fail",
            True,
        ),
        (Fault("status", 503, "ServiceUnavailable", 2), 503, 2.0, "HTTP 503 Service", True),
        (Fault("status", 500, "InternalError"), 500, None, "HTTP 500 InternalError", True),
        (Fault("status", 403, "Forbidden"), 403, None, "HTTP 403 Forbidden", False),
        (Fault("status", 429, retry_after=999_999), 429, 3600.0, "HTTP 429", True),
        (
            Fault("text", 502, body=b"<html>\n bad \xff gateway"),
            502,
            None,
            "HTTP 502: <html> bad � gateway",
            True,
        ),
        (Fault("redirect"), 302, None, "a redirect, which is not followed", False),
        (Fault("redirect", location=":http://[/"), None, None, "Invalid IPv6 URL", True),
        (Fault("cut"), None, None, "disconnected", True),
        (Fault("half"), None, None, "peer closed connection", True),
        (Fault("garbage"), None, None, "what was answered is no JSON", True),
        (Fault("garbage", body=b"[1, 2]"), None, None, "what was answered is no object", True),
        (Fault("garbage", body=b'{"a": 1}'), None, None, "what was answered is no list", True),
        (Fault("garbage", body=b"[" * 100_000), None, None, "no JSON", True),
        (Fault("garbage", body=b'{"a": "\xff"}'), None, None, "no JSON", True),
        (Fault("text", 500, body=b"[" * 9_000), 500, None, "HTTP 500: [[[", True),
        (Fault("text", 500, body=b'{"a": "\xff\x1b"}'), 500, None, 'HTTP 500: {"a": "\ufffd', True),
        (Fault("endless"), None, None, "longer than 1048576 bytes", True),
    ],
)
def test_whatever_is_wrong_is_one_typed_error(
    server: ApiServer,
    fault: Fault,
    status: int | None,
    retry_after: float | None,
    text: str,
    may_pass: bool,
) -> None:
    server.fail(fault)

    async def test(client: KubeClient) -> None:
        error = await refusal(client.list_page(NODES))
        assert (error.status, error.retry_after, error.may_pass) == (status, retry_after, may_pass)
        assert str(error).startswith("list nodes: ")
        assert text in str(error)
        assert "\n" not in str(error)
        server.well()
        assert (await client.list_page(NODES)).items == []

    play(server, test, max_bytes=1 << 20)


def test_a_hundred_megabytes_never_enter_memory(server: ApiServer) -> None:
    server.fail(Fault("endless"))

    async def test(client: KubeClient) -> None:
        await refusal(client.get(NODES, "a"))
        tracemalloc.start()
        await refusal(client.list_page(NODES))
        with pytest.raises(ApiError, match="a line is longer than"):
            async with client.watch(NODES, version="1") as events:
                async for _ in events:
                    pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 40 << 20

    play(server, test, max_bytes=1 << 20)


def test_an_answer_that_does_not_come_is_given_up(server: ApiServer) -> None:
    fault = server.fail(Fault("hold"))

    async def test(client: KubeClient) -> None:
        error = await refusal(client.list_page(NODES))
        assert error.status is None
        assert str(error) == f"list nodes: {server.url}: no answer in time"
        assert fault.met == 1

    play(server, test, timeout=0.2)


def test_nobody_there_is_said_with_the_address() -> None:
    with api_server() as server:
        pass

    async def test(client: KubeClient) -> None:
        error = await refusal(client.get(LEASES, "a", "b"))
        assert str(error).startswith(f"get leases.coordination.k8s.io b/a: {server.url}: ")
        assert error.may_pass

    play(server, test)


def test_a_token_that_was_rotated_is_read_again_and_only_that_is_repeated(
    server: ApiServer, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("old\n")
    server.tokens = {"old"}

    async def test(client: KubeClient) -> None:
        await client.list_page(NODES)
        server.tokens = {"new"}
        error = await refusal(client.list_page(NODES))
        assert (error.status, error.may_pass) == (401, False)
        assert len(server.requests) == 2
        # As kubelet does it, but with the same size and time as before.
        status = file.stat()
        file.write_text("new\n")
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        await client.list_page(NODES)
        assert [status for *_, status in server.requests] == [200, 401, 401, 200]
        file.unlink()
        error = await refusal(client.list_page(NODES))
        assert f"{file}: the token cannot be read" in str(error)

    play(server, test, access=Access("test", server.url, token_file=file))


def test_a_token_in_the_kubeconfig_itself_is_read_again_where_it_is_refused(
    server: ApiServer, tmp_path: Path
) -> None:
    server.tokens = {"old"}
    file = server.kubeconfig(tmp_path, "old")
    text = file.read_text()

    async def test(client: KubeClient) -> None:
        server.put("nodes", node("node-a"))
        await client.get(NODES, "node-a")
        server.tokens = {"new"}
        for unusable in (text, "{", text.replace(server.url, "http://elsewhere:1")):
            file.write_text(unusable)
            assert (await refusal(client.get(NODES, "node-a"))).status == 401
        file.write_text(text.replace("old", "new"))
        await client.get(NODES, "node-a")
        await client.get(NODES, "node-a")
        assert [status for *_, status in server.requests] == [200, *[401] * 4, 200, 200]

    play(server, test, access=read_kubeconfig(file))


def test_the_version_that_the_cluster_serves_is_asked_for_once() -> None:
    async def test(client: KubeClient) -> None:
        for _ in range(2):
            await client.list_page(ENDPOINT_SLICES, namespace="a")
        await client.list_page(ENDPOINT_SLICES)

    with api_server("1.20") as old:
        play(old, test)
        assert [path for _, path, _ in old.requests] == [
            "/apis/discovery.k8s.io",
            "/apis/discovery.k8s.io/v1beta1/namespaces/a/endpointslices?limit=250",
            "/apis/discovery.k8s.io/v1beta1/namespaces/a/endpointslices?limit=250",
            "/apis/discovery.k8s.io/v1beta1/endpointslices?limit=250",
        ]


def test_a_resource_that_the_cluster_does_not_have_is_not_found(server: ApiServer) -> None:
    async def test(client: KubeClient) -> None:
        error = await refusal(client.get(LEASES._replace(plural="rents"), "a", "b"))
        assert error.not_found
        assert "404 page not found" in str(error)

    play(server, test)


def test_a_continue_token_that_has_expired_is_gone(server: ApiServer) -> None:
    async def test(client: KubeClient) -> None:
        page = await client.list_page(NODES, limit=2)
        server.compact()
        error = await refusal(client.list_page(NODES, limit=2, more=page.more))
        assert (error.gone, error.reason) == (True, "Expired")

    for name in "abc":
        server.put("nodes", node(name))
    play(server, test)


def test_a_watch_that_is_cut_garbled_or_too_old_raises(server: ApiServer) -> None:
    async def watch(client: KubeClient, version: str, ending: str) -> ApiError:
        with pytest.raises(ApiError) as raised:
            async with client.watch(NODES, version=version) as events:
                getattr(server, ending)()
                async for _ in events:
                    pass
        return raised.value

    async def test(client: KubeClient) -> None:
        now = (await client.list_page(NODES)).version
        error = await watch(client, now, "cut_watches")
        assert (error.status, error.may_pass) == (None, True)
        error = await watch(client, "5", "bookmark")
        assert (error.status, error.gone, error.reason) == (410, True, "Expired")
        for body, text in (
            (b"{}\n", "no watch event"),
            (b"7\n", "no watch event"),
            (b'{"type": "ADDED", "object": {}}\n{"type"', "cut in the middle of a line"),
            (b"\xff\n", "no JSON"),
        ):
            server.fail(Fault("garbage", body=body, times=1))
            assert text in str(await watch(client, now, "bookmark"))

    play(server, test)


def test_what_a_watcher_does_is_not_taken_for_the_api_s_failure(server: ApiServer) -> None:
    async def test(client: KubeClient) -> None:
        version = (await client.list_page(NODES)).version
        server.put("nodes", node("a"))
        with pytest.raises(TimeoutError, match="mine"):
            async with client.watch(NODES, version=version) as events:
                async for _ in events:
                    raise TimeoutError("mine")

    play(server, test)


def test_a_cancelled_watch_leaves_nothing_open(server: ApiServer) -> None:
    async def test(client: KubeClient) -> None:
        async def watch() -> None:
            async with client.watch(NODES, version="100") as events:
                entered.set()
                async for _ in events:
                    pass

        entered = asyncio.Event()
        task = asyncio.create_task(watch())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        server.put("nodes", node("a"))
        assert (await client.get(NODES, "a"))["metadata"]["name"] == "a"

    play(server, test)


def test_every_request_is_told_with_its_result(server: ApiServer) -> None:
    told: list[Asked] = []

    async def test(client: KubeClient) -> None:
        await client.create(NODES, node("a"))
        await refusal(client.get(NODES, "b"))
        server.fail(Fault("cut", times=1))
        await refusal(client.get(NODES, "a"))
        assert [each["metadata"]["name"] async for each in every(client, NODES)] == ["a"]

    play(server, test, observe=told.append)
    assert [(each.verb, each.resource, each.status) for each in told] == [
        ("create", "nodes", 201),
        ("get", "nodes", 404),
        ("get", "nodes", None),
        ("list", "nodes", 200),
    ]
    assert all(each.seconds >= 0 for each in told)


def openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for the server, one for the client, each its own CA; another that nobody trusts."""
    folder = tmp_path_factory.mktemp("certificates")
    for name, subject in (("server", "IP:127.0.0.1"), ("client", "DNS:me"), ("other", "DNS:x")):
        openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName={subject}"),
            *("-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt")),
        )
    return folder


def secured(folder: Path) -> ssl.SSLContext:
    return for_server(Pair(folder / "server.crt", folder / "server.key"), folder / "client.crt")


def test_the_ca_and_the_client_s_certificate_count_from_files_and_from_memory(
    certificates: Path, tmp_path: Path
) -> None:
    async def works(client: KubeClient) -> None:
        assert (await client.list_page(NODES)).items == []

    async def fails(client: KubeClient) -> None:
        error = await refusal(client.list_page(NODES))
        assert (error.status, error.may_pass) == (None, True)
        assert "certificate verify failed" in str(error)

    ca = Material(certificates / "server.crt")
    cert, key = (Material(certificates / f"client.{end}") for end in ("crt", "key"))
    with api_server(tls=secured(certificates)) as server:
        whole = Access("test", server.url, ca, cert=cert, key=key)
        in_memory = [Material(data=each.file.read_bytes()) for each in (ca, cert, key) if each.file]
        play(server, works, access=whole)
        play(
            server,
            works,
            access=whole._replace(ca=in_memory[0], cert=in_memory[1], key=in_memory[2]),
        )
        play(server, works, access=whole._replace(ca=None, verify=False))
        play(server, fails, access=whole._replace(ca=Material(certificates / "other.crt")))
        play(server, fails, access=whole._replace(server_name="elsewhere.example"))


def test_a_ca_that_is_exchanged_is_trusted_from_then_on(certificates: Path, tmp_path: Path) -> None:
    ca = tmp_path / "ca.crt"
    ca.write_bytes((certificates / "other.crt").read_bytes())
    cert, key = (Material(certificates / f"client.{end}") for end in ("crt", "key"))

    async def test(client: KubeClient) -> None:
        await refusal(client.list_page(NODES))
        ca.write_text("no certificate")
        error = await refusal(client.list_page(NODES))
        assert "test: CA certificate: " in str(error)
        ca.write_bytes((certificates / "server.crt").read_bytes())
        assert (await client.list_page(NODES)).items == []

    with api_server(tls=secured(certificates)) as server:
        play(server, test, access=Access("test", server.url, Material(ca), cert=cert, key=key))


def test_a_kubeconfig_leads_to_its_server(server: ApiServer, tmp_path: Path) -> None:
    server.tokens = {"sesame"}

    async def test(client: KubeClient) -> None:
        assert (await client.list_page(NODES)).items == []

    play(server, test, access=read_kubeconfig(server.kubeconfig(tmp_path, "sesame")))

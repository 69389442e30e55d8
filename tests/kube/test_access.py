"""Where the API is and who asks: what is found, and the one line of what is wrong."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from exporter.errors import KernmeshError
from exporter.kube.access import Material, find_access, read_kubeconfig

CLUSTER = {"server": "https://10.0.0.1:6443/"}


def kubeconfig(
    folder: Path,
    cluster: dict[str, Any] | None = None,
    user: dict[str, Any] | None = None,
    **other: Any,
) -> Path:
    path = folder / "config"
    whole = {
        "clusters": [{"name": "k", "cluster": cluster or CLUSTER}],
        "users": [{"name": "u", "user": user or {}}],
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "n"}}],
        "current-context": "c",
        "preferences": {},
    }
    path.write_text(json.dumps(whole | other))
    return path


def account(folder: Path) -> Path:
    for name, text in (("token", "t\n"), ("ca.crt", "pem"), ("namespace", "monitoring")):
        (folder / name).write_text(text)
    return folder


IN_POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}


def test_a_pod_s_service_account_is_found(tmp_path: Path) -> None:
    access = find_access(None, IN_POD, account(tmp_path))
    assert access.server == "https://10.96.0.1:443"
    assert access.token_file == tmp_path / "token"
    assert access.ca == Material(tmp_path / "ca.crt")
    assert access.namespace == "monitoring"
    six = find_access(None, IN_POD | {"KUBERNETES_SERVICE_HOST": "fd00::1"}, tmp_path)
    assert six.server == "https://[fd00::1]:443"


def test_the_file_that_is_named_goes_before_all_else(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, user={"token": "sesame"})
    access = find_access(path, IN_POD | {"KUBECONFIG": "/elsewhere"}, tmp_path)
    assert (access.server, access.token, access.namespace) == (
        "https://10.0.0.1:6443",
        "sesame",
        "n",
    )
    assert find_access(None, {"KUBECONFIG": str(path)}).token == "sesame"
    home = tmp_path / "home"
    (home / ".kube").mkdir(parents=True)
    kubeconfig(home / ".kube", user={"token": "home"})
    assert find_access(None, {"HOME": str(home)}).token == "home"


def test_only_the_context_that_is_used_must_be_usable(tmp_path: Path) -> None:
    others = [{"name": "x", "user": {"exec": {"command": "aws"}}}, {"name": "u", "user": {}}]
    assert read_kubeconfig(kubeconfig(tmp_path, users=others)).token == ""


def test_a_token_is_never_printed(tmp_path: Path) -> None:
    access = read_kubeconfig(kubeconfig(tmp_path, user={"token": "sesame"}))
    assert "sesame" not in repr(access)


def test_certificates_come_as_files_beside_it_or_in_it(tmp_path: Path) -> None:
    for name in ("ca.crt", "me.crt", "me.key"):
        (tmp_path / name).write_text(name)
    access = read_kubeconfig(
        kubeconfig(
            tmp_path,
            CLUSTER | {"certificate-authority": "ca.crt", "tls-server-name": "kube"},
            {
                "client-certificate": str(tmp_path / "me.crt"),
                "client-key-data": base64.b64encode(b"key").decode(),
                "client-key": "nowhere",
            },
        )
    )
    assert access.ca == Material(tmp_path / "ca.crt")
    assert access.cert == Material(tmp_path / "me.crt")
    assert access.key == Material(data=b"key")
    assert access.server_name == "kube"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"current-context": ""}, "current-context: is missing, want a context's name"),
        ({"current-context": "x"}, "current-context: nothing of that name, got x, there are: c"),
        ({"clusters": []}, "contexts: c: cluster: nothing of that name, got k, there are: none"),
        ({"users": []}, "contexts: c: user: nothing of that name, got u, there are: none"),
        ({"cluster": {"server": "10.0.0.1"}}, "no address, got 10.0.0.1, want https://HOST:PORT"),
        ({"cluster": {}, "clusters": [{"name": "k", "cluster": {}}]}, "server"),
        (
            {"cluster": CLUSTER | {"proxy-url": "http://p"}},
            "a proxy is not supported, got http://p",
        ),
        (
            {"cluster": CLUSTER | {"certificate-authority": "ca.crt"}},
            "certificate-authority: {folder}/ca.crt: cannot be read: No such file or directory",
        ),
        (
            {"cluster": CLUSTER | {"certificate-authority-data": "%%"}},
            "certificate-authority-data: is not base64",
        ),
        (
            {"cluster": CLUSTER | {"certificate-authority-data": "é"}},
            "certificate-authority-data: is not base64",
        ),
        ({"cluster": {"server": "http://["}}, "no address, got http://[, want https://HOST:PORT"),
        (
            {"user": {"client-certificate-data": "YQ==", "client-key": "a\0b"}},
            "client-key: {folder}/a\\x00b: is no path: embedded null byte",
        ),
        ({"user": {"tokenFile": "t"}}, "tokenFile: {folder}/t: cannot be read: No such file"),
        ({"user": {"exec": {"command": "aws"}}}, "exec: is a way to log in that is not supported"),
        ({"user": {"auth-provider": {"name": "gcp"}}}, "auth-provider: is a way to log in"),
        ({"user": {"username": "a"}}, "username: is a way to log in that is not supported"),
        (
            {"user": {"client-certificate": "a"}},
            "client-certificate: one of certificate and key is missing",
        ),
        ({"clusters": "many"}, "clusters: wrong kind, got"),
    ],
)
def test_what_is_wrong_in_a_kubeconfig_is_one_line(
    tmp_path: Path, changes: dict[str, Any], line: str
) -> None:
    path = kubeconfig(tmp_path, **changes)
    with pytest.raises(KernmeshError) as raised:
        read_kubeconfig(path)
    said = str(raised.value)
    assert said.startswith(str(path))
    assert line.format(folder=tmp_path) in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({"HOME": "{folder}"}, "no access to the Kubernetes API: this is no pod"),
        ({"KUBECONFIG": "{folder}/a:{folder}/b"}, "KUBECONFIG: names 2 files, want one"),
        ({"KUBECONFIG": "{folder}/a"}, "{folder}/a: cannot be read: No such file or directory"),
        ({"KUBECONFIG": "{folder}"}, "{folder}: "),
        (IN_POD, "{folder}/token: cannot be read; the pod's service account must be mounted"),
    ],
)
def test_no_access_is_one_line(tmp_path: Path, environ: dict[str, str], line: str) -> None:
    filled = {name: value.format(folder=tmp_path) for name, value in environ.items()}
    with pytest.raises(KernmeshError) as raised:
        find_access(None, filled, tmp_path)
    assert line.format(folder=tmp_path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_kubeconfig_that_is_no_yaml_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "config"
    for content in (b"\x00\xff", b"[" * 200_000, b"a: b: c"):
        path.write_bytes(content)
        with pytest.raises(KernmeshError) as raised:
            read_kubeconfig(path)
        assert str(raised.value).startswith(str(path))
        assert "\n" not in str(raised.value)

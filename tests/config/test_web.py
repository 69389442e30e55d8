"""Web configuration files: exporter-toolkit's as they are, and what is wrong with others."""

from pathlib import Path

import pytest

from exporter.config.web import WebConfig, load_web
from exporter.errors import ConfigError

HASH = "$2y$10$" + "a" * 53
PAIR = "cert_file: a, key_file: b"


def problems(path: Path, text: str) -> list[str]:
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_web(path)
    return [str(each).removeprefix(f"{path}:") for each in caught.value.problems]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tls_server_config:\nhttp_server_config:\nbasic_auth_users:\n",
        f"tls_server_config: {{{PAIR}, client_auth_type: NoClientCert}}",
        f"tls_server_config: {{{PAIR}, cipher_suites: [TLS_AES_128_GCM_SHA256], "
        "curve_preferences: [X25519, CurveP521, CurveP384, CurveP256], min_version: TLS12}",
        "http_server_config: {http2: false, headers: {Strict-Transport-Security: max-age=31536000, "
        "X-Content-Type-Options: nosniff, X-Frame-Options: '', X-XSS-Protection: 1}}",
        f"basic_auth_users: {{alice: {HASH}}}\nrate_limit: {{interval: 1s, burst: 20}}",
        f"basic_auth_users: {{alice: {HASH}}}\nopen_paths: [/-/healthy]",
        "bearer_token_files: {agents: token}",
    ],
)
def test_files_that_are_right(tmp_path: Path, text: str) -> None:
    path = tmp_path / "web.yml"
    path.write_text(text)
    assert isinstance(load_web(path), WebConfig)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tls_server_config: {min_version: TLS13}", "1: tls_server_config.cert_file: is missing"),
        ("tls_server_config: {cert_file: a}", "1: tls_server_config.key_file: is missing, want a"),
        (
            f"tls_server_config:\n  {{{PAIR}, cert: x}}",
            "2: tls_server_config.cert_file: is set beside cert, want one of the two",
        ),
        (
            f"tls_server_config: {{{PAIR}, client_auth_type: RequireAnyClientCert}}",
            "1: tls_server_config.client_auth_type: Python's TLS takes no certificate unverified",
        ),
        (
            f"tls_server_config: {{{PAIR}, client_auth_type: RequireClientCert}}",
            "1: tls_server_config.client_auth_type: Python's TLS takes no certificate unverified",
        ),
        (
            f"tls_server_config: {{{PAIR}, client_auth_type: RequireAndVerifyClientCert}}",
            "1: tls_server_config.client_ca_file: is missing, and all CAs of this machine would",
        ),
        (
            f"tls_server_config: {{{PAIR}, client_ca_file: c}}",
            "1: tls_server_config.client_auth_type: asks no client for a certificate",
        ),
        (
            f"tls_server_config: {{{PAIR}, client_ca_file: c, client_allowed_sans: [a], "
            "client_auth_type: VerifyClientCertIfGiven}",
            "1: tls_server_config.client_allowed_sans: proves nothing so, want client_auth_type",
        ),
        (
            f"tls_server_config: {{{PAIR}, client_auth_type: Verify}}",
            '1: tls_server_config.client_auth_type: unknown value, got "Verify"',
        ),
        (f"tls_server_config: {{{PAIR}, max_version: TLS11}}", "max_version: is not spoken any"),
        (
            f"tls_server_config: {{{PAIR}, min_version: TLS13, max_version: TLS12}}",
            'min_version: too high, got "TLS13", want at most max_version (TLS12)',
        ),
        (f"tls_server_config: {{{PAIR}, min_version: SSL30}}", "min_version: unknown value"),
        (
            f"tls_server_config: {{{PAIR}, cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]}}",
            "cipher_suites[0]: unknown cipher suite",
        ),
        (
            f"tls_server_config: {{{PAIR}, max_version: TLS12, "
            "cipher_suites: [TLS_AES_128_GCM_SHA256]}",
            "cipher_suites: are of TLS 1.3 only",
        ),
        (f"tls_server_config: {{{PAIR}, curve_preferences: [CurveP1]}}", "unknown curve"),
        ("http_server_config: {headers: {X-Evil: 1}}", "headers.X-Evil: unknown key"),
        (
            "http_server_config: {headers: {X-Frame-Options: allow}}",
            'X-Frame-Options: unknown value, got "allow", want deny or sameorigin',
        ),
        (
            'http_server_config: {headers: {X-XSS-Protection: "1\\r\\nX-Evil: 1"}}',
            "X-XSS-Protection: is no header",
        ),
        ("basic_auth_users: {alice: secret}", "basic_auth_users.alice: is no bcrypt hash, want"),
        (f"basic_auth_users: {{'a:b': {HASH}}}", "has a colon, which no client can send"),
        ("open_paths: [/metrics]", "open_paths[0]: unknown value"),
        ("open_paths: [/-/ready]", "open_paths: has no meaning where all is open"),
        ("rate_limit: {interval: 1s}", "rate_limit.burst: lets nobody in"),
        ("tls_config: {}", "1: tls_config: unknown key (did you mean tls_server_config?)"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    assert problem in problems(tmp_path / "web.yml", text)[0]


def test_a_password_that_stands_for_its_hash_is_not_shown(tmp_path: Path) -> None:
    [line] = problems(tmp_path / "web.yml", "basic_auth_users: {alice: hunter2}")
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("text", "notes"),
    [
        (f"tls_server_config: {{{PAIR}}}", []),
        (
            f"tls_server_config: {{{PAIR}, client_auth_type: RequestClientCert}}",
            ["tls_server_config.client_auth_type: RequestClientCert lets everybody in"],
        ),
        (
            f"tls_server_config: {{{PAIR}, min_version: TLS10, curve_preferences: "
            "[X25519, CurveP256]}",
            [
                "tls_server_config.min_version: TLS10 is not spoken any more",
                "tls_server_config.curve_preferences: Python's TLS takes one: X25519 is used",
            ],
        ),
        ("http_server_config: {http2: true}", ["http_server_config.http2: HTTP/2 is not spoken"]),
        (
            f"basic_auth_users: {{a: {HASH.replace('10', '16')}}}",
            ["passwords and tokens travel in the clear", "basic_auth_users.a: a cost of 16 takes"],
        ),
    ],
)
def test_what_is_not_as_in_go_is_a_note(tmp_path: Path, text: str, notes: list[str]) -> None:
    path = tmp_path / "web.yml"
    path.write_text(text)
    found = list(load_web(path).notes())
    assert [note.startswith(want) for note, want in zip(found, notes, strict=True)] == [True] * len(
        notes
    )

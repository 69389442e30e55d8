"""A certificate's end is read as openssl has it, and nothing but a certificate has one."""

import ssl
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pingmesh.probes.certificate import not_after
from tests.pki import authority, signed


@pytest.mark.parametrize("days", [-1, 1, 5_000, 9_000, 100_000])
def test_a_certificate_ends_when_openssl_says_it_does(tmp_path: Path, days: int) -> None:
    pair = signed(tmp_path, "server", authority(tmp_path, "ca"), days=days)
    said = subprocess.run(
        ["openssl", "x509", "-in", pair.cert, "-noout", "-enddate"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    der = ssl.PEM_cert_to_DER_cert(pair.cert.read_text())
    assert not_after(der) == ssl.cert_time_to_seconds(said.removeprefix("notAfter="))
    cuts = {not_after(der[:length]) for length in range(len(der))}
    assert cuts == {None}


@given(st.binary(max_size=300))
def test_any_bytes_have_an_end_or_none(data: bytes) -> None:
    found = not_after(data)
    assert found is None or isinstance(found, float)


def test_what_is_no_certificate_has_none() -> None:
    assert not_after(b"") is None
    assert not_after(b"\x30\x03\x30\x01\x02") is None

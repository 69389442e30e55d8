"""What a release is made of is said whole, with a hash and a licence each."""

import pytest

from tests.release.sbom import LOCK, Package, cyclonedx, locked

PACKAGES = list(locked(LOCK.read_text()))


def test_every_pin_of_the_lock_is_a_component() -> None:
    pins = [line for line in LOCK.read_text().splitlines() if "==" in line and line[0] != " "]
    names = [c["name"] for c in cyclonedx(PACKAGES, "1")["components"]]
    assert names == [pin.partition("==")[0] for pin in pins] + ["libbpf1", "python3"]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_a_component_has_hashes_and_a_licence(package: Package) -> None:
    assert package.hashes
    assert package.licence


def test_no_licence_forbids_what_ours_allows() -> None:
    # MPL holds file by file, LGPL for the library that is loaded: both may stand beside ours.
    assert not [p for p in PACKAGES if "GPL" in p.licence and "LGPL" not in p.licence]

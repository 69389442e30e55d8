from pathlib import Path

import pytest

from exporter.actuator.cgroups import Hierarchy, NotAllowed, Roots, opened
from tests.actuator.trees import make

UID = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
SLICE = f"kubepods-besteffort-pod{UID.replace('-', '_')}.slice"


@pytest.fixture
def mount(tmp_path: Path) -> Hierarchy:
    make(tmp_path, "kubepods/besteffort", {"cpu.idle": "0"})
    return Hierarchy("cpu", 2, str(tmp_path))


@pytest.mark.parametrize(
    "path",
    ["..", "kubepods/../..", "kubepods/./besteffort", "kubepods//besteffort", "", "/", "a\0b"],
)
def test_a_path_that_is_not_plainly_below_the_mount_is_refused(mount: Hierarchy, path: str) -> None:
    with pytest.raises(NotAllowed), opened(mount, path):
        pass


@pytest.mark.parametrize("link", ["kubepods/besteffort/pod", "kubepods/offline"])
def test_a_symbolic_link_is_refused_wherever_it_leads(
    mount: Hierarchy, tmp_path: Path, link: str
) -> None:
    (tmp_path / link).symlink_to(tmp_path / "kubepods", target_is_directory=True)
    for path in (link, f"{link}/besteffort"):
        with pytest.raises(NotAllowed, match="symbolic link"), opened(mount, path):
            pass


def test_a_file_that_is_a_link_is_neither_read_nor_written(
    mount: Hierarchy, tmp_path: Path
) -> None:
    secret = tmp_path / "shadow"
    secret.write_text("root:x")
    (tmp_path / "kubepods/besteffort/cpu.max").symlink_to(secret)
    with opened(mount, "kubepods/besteffort") as folder:
        assert not folder.has("cpu.max")
        with pytest.raises(OSError, match="symbolic"):
            folder.read("cpu.max")
        with pytest.raises(OSError, match="symbolic"):
            folder.write("cpu.max", "1")
    assert secret.read_text() == "root:x"


ROOTS = ("kubepods/offline", "kubepods/besteffort", "batch")


@pytest.mark.parametrize(
    ("path", "uid", "pods", "allowed"),
    [
        ("kubepods/besteffort", "", False, True),
        (f"kubepods/besteffort/pod{UID}", UID, False, True),
        (f"kubepods/besteffort/pod{UID}", "", False, True),
        (f"kubepods.slice/kubepods-besteffort.slice/{SLICE}", UID, False, True),
        ("batch/nightly", "", False, True),
        ("kubepods", "", False, False),
        ("kubepods/burstable", "", True, False),
        ("batches", "", False, False),
        ("system.slice/sshd.service", "", True, False),
        (f"kubepods/burstable/pod{UID}", UID, False, False),
        (f"kubepods/burstable/pod{UID}", UID, True, True),
        (f"kubepods/burstable/pod{UID}", "", True, False),
        (f"kubepods/besteffort/pod{UID}", UID.replace("0", "9"), False, False),
        (f"kubepods/burstable/pod{UID}", UID.replace("0", "9"), True, False),
        ("kubepods/burstable", UID, True, False),
        (f"kubepods/burstable/pod{UID}/kubepods/besteffort", "", False, False),
        ("kubepods/besteffort/../burstable", "", True, False),
    ],
)
def test_only_offline_work_may_be_touched(path: str, uid: str, pods: bool, allowed: bool) -> None:
    roots = Roots(ROOTS, pods)
    if allowed:
        roots.check(path, uid)
    else:
        with pytest.raises(NotAllowed):
            roots.check(path, uid)


@pytest.mark.parametrize(
    "there",
    [
        ["kubepods/besteffort", "batch"],
        ["kubepods.slice/kubepods-besteffort.slice", "batch"],
        ["docker/node/kubelet/kubepods/besteffort", "batch"],
    ],
)
def test_the_offline_cgroups_are_found_however_kubelet_names_them(
    tmp_path: Path, there: list[str]
) -> None:
    for path in there:
        make(tmp_path, path, {})
    found = Roots(ROOTS, pods=False).here(Hierarchy("cpu", 1, str(tmp_path)))
    assert found == sorted(there)


def test_an_offline_cgroup_in_another_is_not_named_twice(tmp_path: Path) -> None:
    make(tmp_path, "batch/inner", {})
    roots = Roots(("batch", "batch/inner"), pods=False)
    assert roots.here(Hierarchy("cpu", 1, str(tmp_path))) == ["batch"]

"""Which filesystems hold the node's data."""

from pathlib import Path

import pytest

from exporter.host.filesystems import Space, full_percent, real_filesystems, space
from exporter.testing import fake_host

MOUNTS = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
28 27 254:0 /var/lib/kubelet/pods/x /data/pod rw - ext4 /dev/vda rw
29 27 8:1 /sub /bound rw - xfs /dev/sda1 rw
30 27 8:1 / /srv/two\\040words rw - xfs /dev/sda1 rw
31 27 8:2 / /ro ro,relatime - ext4 /dev/sda2 rw
32 27 8:3 / /ro2 rw - ext4 /dev/sda3 ro,errors=remount-ro
33 27 7:0 / /snap ro - squashfs /dev/loop0 ro
34 27 0:50 / /nfs rw - nfs4 server:/x rw
35 27 0:51 / /dev/shm rw - tmpfs tmpfs rw
36 27 8:4 /only/bound /kept rw - btrfs /dev/sda4 rw
a line that is none
"""


@pytest.mark.parametrize("process", ["1", "self"])
def test_each_disk_of_this_machine_once_at_its_root_if_that_is_mounted(
    tmp_path: Path, process: str
) -> None:
    host = fake_host(tmp_path, {f"proc/{process}/mountinfo": MOUNTS})
    found = real_filesystems(host)
    assert [each.place for each in found] == ["/", "/srv/two words", "/kept"]
    assert found[1].folder == tmp_path / "srv/two words"


def test_without_mountinfo_nothing_is_known(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="mountinfo"):
        real_filesystems(fake_host(tmp_path, {}))


def test_fullness_is_as_df_has_it() -> None:
    assert full_percent(Space(used=75, available=25)) == 75.0
    assert full_percent(Space(0, 0)) is None
    here = full_percent(space(Path("/")))
    assert here is not None and 0 < here <= 100

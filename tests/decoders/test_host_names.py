"""Decoders that ask the host for names: disks, interfaces, PCI."""

from pathlib import Path

import pytest

from exporter.decoders.ifname import InterfaceName
from exporter.decoders.majorminor import DiskName
from exporter.decoders.pci import PciClass, PciDevice, PciSubclass, PciVendor
from exporter.decoders.pci_names import PciNames
from exporter.decoders.provisional import Provisional
from exporter.errors import DecodeError
from exporter.hostfs import HostFs
from exporter.testing import FakeClock, fake_host

PARTITIONS = """\
major minor  #blocks  name

   8        0  268435456 sda
   8       16  268435456 sdb
 259   300000       1024 nvme9n1p3
"""
PCI_IDS = """\
# comment
0e11  Compaq Computer Corporation
\t0001  PCI to EISA Bridge
8086  Intel Corporation
\t1000  82542 Gigabit Ethernet Controller (Fiber)
\t\t0e11 b0df  NC6132 Gigabit Ethernet Adapter
\t1001  82543GC
C 02  Network controller
\t00  Ethernet controller
C 03  Display controller
\t00  VGA compatible controller
\t\t00  VGA controller
"""


def device(major: int, minor: int) -> bytes:
    """new_encode_dev() of include/linux/kdev_t.h."""
    return (minor & 0xFF | major << 8 | (minor & ~0xFF) << 12).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"\x00\x08\x00\x00", "sda"),
        (b"\x10\x08\x00\x00", "sdb"),
        (device(8, 16), "sdb"),
        (device(259, 300000), "nvme9n1p3"),
        (b"\x10\x88\x00\x00", "unknown:136:16"),
        (device(8, 0) + bytes(4), "sda"),
    ],
)
def test_a_device_number_is_named_as_partitions_has_it(
    tmp_path: Path, raw: bytes, name: str
) -> None:
    fs = fake_host(tmp_path, {"proc/partitions": PARTITIONS})
    assert DiskName(fs, FakeClock()).decode(raw) == name


def test_a_disk_that_came_later_is_found_and_one_that_went_is_forgotten(tmp_path: Path) -> None:
    clock = FakeClock()
    disks = DiskName(fake_host(tmp_path, {"proc/partitions": PARTITIONS}), clock)
    assert type(disks.decode(device(7, 0))) is Provisional
    (tmp_path / "proc/partitions").write_text("   7        0       1024 loop0\n")
    clock.advance(1)
    assert disks.decode(device(7, 0)) == "loop0"
    assert disks.decode(device(8, 0)) == "unknown:8:0"


def test_partitions_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="partitions: cannot be read: No such file"):
        DiskName(fake_host(tmp_path, {}), FakeClock()).decode(device(8, 0))


def test_an_interface_is_named_by_its_index(tmp_path: Path) -> None:
    files = {"sys/class/net/lo/ifindex": "1\n", "sys/class/net/eth0/ifindex": "2\n"}
    clock = FakeClock()
    names = InterfaceName(fake_host(tmp_path, files), clock)
    assert names.decode(b"\2\0\0\0") == "eth0"
    later = names.decode(b"\3\0\0\0")
    assert (later, type(later)) == ("unknown:3", Provisional)
    fake_host(tmp_path, {"sys/class/net/veth1/ifindex": "3\n"})
    assert names.decode(b"\3\0\0\0") == "unknown:3"
    clock.advance(1)
    assert names.decode(b"\3\0\0\0") == "veth1"


def test_the_hosts_own_loopback_is_found_by_its_index() -> None:
    index = int(Path("/sys/class/net/lo/ifindex").read_text())
    assert InterfaceName(HostFs(), FakeClock()).decode(index.to_bytes(4, "little")) == "lo"


@pytest.mark.parametrize(
    ("decoder", "number", "name", "bare"),
    [
        (PciVendor, 0x8086, "Intel Corporation", "0x8086"),
        (PciVendor, 0x0E11, "Compaq Computer Corporation", "0x0e11"),
        (PciVendor, 0x1, "unknown pci vendor: 0x0001", "0x0001"),
        (PciDevice, 0x80861001, "82543GC", "0x80861001"),
        (PciDevice, 0x0E110001, "PCI to EISA Bridge", "0x0e110001"),
        (PciDevice, 0x80860001, "unknown pci device: 0x80860001", "0x80860001"),
        (PciClass, 2, "Network controller", "0x02"),
        (PciClass, 9, "unknown pci class: 0x09", "0x09"),
        (PciSubclass, 0x0200, "Ethernet controller", "0x0200"),
        (PciSubclass, 0x0207, "unknown pci subclass: 0x07 (class 0x02)", "0x0207"),
        (PciSubclass, 0x0900, "unknown pci class: 0x09", "0x0900"),
    ],
)
def test_pci_numbers_have_names_where_pci_ids_is_and_are_hexadecimal_where_not(
    tmp_path: Path,
    decoder: type[PciVendor | PciDevice | PciClass | PciSubclass],
    number: int,
    name: str,
    bare: str,
) -> None:
    with_ids = fake_host(tmp_path / "with", {"usr/share/misc/pci.ids": PCI_IDS})
    without = fake_host(tmp_path / "without", {})
    assert decoder(PciNames([with_ids.root])).rewrite(str(number)) == name
    assert decoder(PciNames([without.root])).rewrite(str(number)) == bare


@pytest.mark.parametrize("line", [b"\xff\xfe", "8 ² 1 x".encode(), b"8 " + b"9" * 5000 + b" 1 x"])
def test_a_line_of_partitions_that_is_none_hides_no_other(tmp_path: Path, line: bytes) -> None:
    fs = fake_host(tmp_path, {"proc/partitions": line + b"\n" + PARTITIONS.encode()})
    raw, name = device(8, 0), DiskName(fake_host(tmp_path / "b", {"proc/partitions": PARTITIONS}),
                                       FakeClock()).decode(device(8, 0))  # fmt: skip
    assert DiskName(fs, FakeClock()).decode(raw) == name

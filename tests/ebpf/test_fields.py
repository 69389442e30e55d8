"""Members by name: offsets and sizes as the compiler laid them out, and what is said of others."""

from pathlib import Path

import pytest

from exporter.ebpf.elf import verify_object
from exporter.ebpf.fields import Part, find_field
from exporter.errors import BpfError


@pytest.mark.parametrize(
    ("map_name", "path", "part"),
    [
        ("pairs_total", "device", Part(0, 4, True, False)),
        ("pairs_total", "operation", Part(4, 1, True, False)),
        ("pairs_total", "bucket", Part(8, 8, True, False)),
        ("nested_total", "port", Part(0, 4, False, None)),
        ("nested_total", "port.high", Part(2, 2, True, False)),
        ("nested_total", "comm", Part(20, 12, False, None)),
    ],
)
def test_a_member_of_a_key_is_found(objects: Path, map_name: str, path: str, part: Part) -> None:
    declared = verify_object(objects / "shapes.bpf.o")
    assert declared.btf
    assert find_field(declared.btf, declared.maps[map_name].key, path) == part


def test_members_of_anonymous_records_are_the_outer_one_s(objects: Path) -> None:
    declared = verify_object(objects / "shapes.bpf.o")
    assert declared.btf
    record = declared.maps["mixed_total"].key
    assert find_field(declared.btf, record, "v4") == Part(4, 4, True, False)
    assert find_field(declared.btf, record, "signed_one") == Part(20, 4, True, True)


@pytest.mark.parametrize(
    ("map_name", "path", "said"),
    [
        ("pairs_total", "devic", "no field 'devic' in struct pair_key (did you mean 'device'?)"),
        (
            "pairs_total",
            "zzz",
            "no field 'zzz' in struct pair_key, it has device, operation, bucket",
        ),
        ("pairs_total", "device.low", "no field 'device.low': int unsigned int has no members"),
        ("events_total", "pid", "no field 'pid': int unsigned long long has no members"),
        ("mixed_total", "bit", "field 'bit' of struct mixed_key is a bit field, want whole bytes"),
    ],
)
def test_a_member_that_cannot_be_had_says_what_there_is(
    objects: Path, map_name: str, path: str, said: str
) -> None:
    declared = verify_object(objects / "shapes.bpf.o")
    assert declared.btf
    with pytest.raises(BpfError) as caught:
        find_field(declared.btf, declared.maps[map_name].key, path)
    assert str(caught.value).replace("__u32", "unsigned int") == said

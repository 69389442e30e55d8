"""enum: names as types give them, from whichever side has them, for keys of every width."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from exporter.decoders.enum_names import EnumName, EnumNames
from exporter.decoders.uint import decode
from exporter.errors import DecodeError
from exporter.hostfs import HostFs


class Known(EnumNames):
    """Enums that are known already."""

    def __init__(self, **enums: Mapping[int, str]) -> None:
        super().__init__(HostFs())
        self._kept = dict(enums)


STATES = Known(state={-1: "S_BAD", 0: "S_NONE", 5: "S_SOME", 6: "OTHER", 7: "S_"})


@pytest.mark.parametrize(
    ("raw", "strip", "text"),
    [
        (b"\0", "", "S_NONE"),
        (b"\5\0\0\0", "S_", "SOME"),
        (b"\6\0", "S_", "OTHER"),
        (b"\7", "S_", "S_"),
        (b"\xff", "S_", "BAD"),
        (b"\xff\xff", "S_", "BAD"),
        (b"\xff" * 4, "S_", "BAD"),
        (b"\xff" * 8, "S_", "BAD"),
        (b"\x09", "S_", "unknown:9"),
    ],
)
def test_a_number_has_its_name(raw: bytes, strip: str, text: str) -> None:
    assert EnumName("state", strip, False, STATES).rewrite(decode(raw)) == text


def test_what_has_no_name_may_stay_a_number() -> None:
    assert EnumName("state", "", True, STATES).rewrite("9") == "9"


def test_a_prefix_that_no_name_has_is_a_mistake() -> None:
    with pytest.raises(DecodeError, match=r"strip 'T_' begins none of its names \(S_BAD, S_NONE"):
        EnumName("state", "T_", False, STATES)


def test_without_types_it_says_where_they_were_looked_for(tmp_path: Path) -> None:
    folder = HostFs()._replace(sys=tmp_path)
    with pytest.raises(DecodeError, match=r"enum 'state': .*kernel/btf/vmlinux: cannot be read"):
        EnumNames(folder).names("state")

"""PCI vendor, device and class names from pci.ids (Debian's package pci.ids), read when needed.

The file is looked through once per name and not kept: it has 35,000 lines, a machine a few devices.
Where it is missing, nothing has a name and the decoders give hexadecimal numbers.
"""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

_PLACES = ("usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids")


class PciNames:
    """Lookups by hexadecimal id, lower case, as the file has them. None: no such id, or no file."""

    def __init__(self, roots: Iterable[Path]) -> None:
        """`roots` are looked through in order: the host's, and our own image's."""
        self._paths = [root / place for root in dict.fromkeys(roots) for place in _PLACES]
        self._find = lru_cache(maxsize=1024)(self._look_up)

    def present(self) -> bool:
        return any(path.is_file() for path in self._paths)

    def vendor(self, vendor: str) -> str | None:
        return self._find(f"{vendor}  ", None)

    def device(self, vendor: str, device: str) -> str | None:
        return self._find(f"{vendor}  ", f"\t{device}  ")

    def device_class(self, class_id: str) -> str | None:
        return self._find(f"C {class_id}  ", None)

    def subclass(self, class_id: str, subclass: str) -> str | None:
        return self._find(f"C {class_id}  ", f"\t{subclass}  ")

    def _look_up(self, head: str, member: str | None) -> str | None:
        """`head` begins a line at the margin, `member` one that is indented by a tab below it."""
        for path in self._paths:
            try:
                with path.open(encoding="utf-8", errors="replace") as lines:
                    inside = False
                    for line in lines:
                        if line[0] not in "\t#\n":
                            if inside:
                                return None
                            inside = line.startswith(head)
                            if inside and member is None:
                                return line[len(head) :].strip()
                        elif inside and member is not None and line.startswith(member):
                            return line[len(member) :].strip()
            except OSError:
                continue
        return None

"""What libbpf said while it loaded a program, read for who is to blame: a function, a map, the
machine."""

import re
from collections.abc import Sequence

from exporter.ebpf import features, libbpf
from exporter.hostfs import HostFs

_BLAMED = re.compile(r"^prog '([^']+)': (.*)")
_MAP_REFUSED = re.compile(r"^map '([^']+)': failed to create: (.*?)(\(-\d+\))?$")
_NO_BTF = re.compile("kernel BTF|vmlinux BTF")


def lacks_btf(said: Sequence[str]) -> bool:
    """It looked for the kernel's BTF and found none."""
    return any(map(_NO_BTF.search, said))


def blamed_function(said: Sequence[str], functions: Sequence[str]) -> tuple[str | None, str]:
    """Which function libbpf's messages hold responsible, and the first thing said of it."""
    matches = [match for match in map(_BLAMED.match, said) if match and match[1] in functions]
    matches = [match for match in matches if "fail" in match[2] or "error" in match[2].lower()]
    if not matches:
        return None, ""
    return matches[-1][1], next(m[2] for m in matches if m[1] == matches[-1][1])


def blamed_whole(
    lib: libbpf.Libbpf, host: HostFs, failure: libbpf.LibbpfError, said: Sequence[str]
) -> str:
    """Why, where no one function is to blame: the machine, or a map."""
    why = features.no_bpf(lib, host)
    if why is None and lacks_btf(said):
        why = features.no_kernel_btf(host)
    if why is None:
        refused_map = next(filter(None, map(_MAP_REFUSED.match, said)), None)
        if refused_map:
            why = f"map {refused_map[1]} cannot be made: {refused_map[2]}"
    if why is None:
        why = next((line for line in reversed(said) if "fail" in line), str(failure))
    return why

"""Classic BPF over struct seccomp_data, as the kernel runs a filter (kernel/seccomp.c)."""

import struct
import sys
from collections.abc import Sequence
from typing import NamedTuple

from exporter.privileges.seccomp import Instruction


class Call(NamedTuple):
    """struct seccomp_data."""

    number: int
    arch: int
    arguments: tuple[int, ...] = ()

    def data(self) -> bytes:
        arguments = [*self.arguments, *(0,) * 6][:6]
        return struct.pack("=iIQ6Q", self.number, self.arch, 0, *arguments)


def verdict(program: Sequence[Instruction], call: Call) -> int:
    """What the filter returns. Raises on what the kernel's checker would not take."""
    assert 0 < len(program) <= 4096  # BPF_MAXINSNS
    data, accumulator, at = call.data(), 0, 0
    while True:
        code, if_true, if_false, k = program[at]
        at += 1
        match code:
            case 0x20:  # BPF_LD|BPF_W|BPF_ABS
                assert k % 4 == 0 and k < 64
                accumulator = int.from_bytes(data[k : k + 4], sys.byteorder)
            case 0x15:
                at += if_true if accumulator == k else if_false
            case 0x35:
                at += if_true if accumulator >= k else if_false
            case 0x45:
                at += if_true if accumulator & k else if_false
            case 0x06:
                return k
            case _:
                raise AssertionError(f"instruction {code:#x}")
        assert max(if_true, if_false) <= 255

"""syscall: a system call's number (decimal text) as its name; `unknown_syscall:<n>` if none."""

import os

from exporter.decoders.uint import parse


class Syscall:
    def __init__(self, machine: str | None = None) -> None:
        """`machine` as uname has it; None: this one's."""
        from exporter.decoders.syscall_names import names  # only those who ask pay for the table

        self._names = names(machine or os.uname().machine)

    def rewrite(self, text: str) -> str:
        number = parse("syscall", text)
        return self._names.get(number) or f"unknown_syscall:{number}"

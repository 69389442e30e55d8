"""`python -m tests.agent.refusing CALL PROGRAM…`: a kernel that has not that system call."""

import os
import sys

from exporter.decoders.syscall_names import names
from exporter.privileges import calls
from exporter.privileges.seccomp import ALLOW, Instruction, packed

ENOSYS = 0x00050026


def main() -> None:
    machine = os.uname().machine
    [number] = [number for number, name in names(machine).items() if name == sys.argv[1]]
    filter_ = [
        Instruction(0x20, 0, 0, 0),
        Instruction(0x15, 0, 1, number),
        Instruction(0x06, 0, 0, ENOSYS),
        Instruction(0x06, 0, 0, ALLOW),
    ]
    calls.filter_system_calls(machine, packed(filter_))  # root needs no no_new_privs for it
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()

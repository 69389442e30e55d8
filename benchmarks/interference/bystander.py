"""Offline work that harms nobody: a little of everything, all the time.

    python bystander.py idle|busy|keeper|writer|talker [FILE]

Imports nothing of kernmesh.
"""

import os
import socket
import sys
import time

_PERIOD = 0.1
_SHARES = {"busy": 0.08, "talker": 0.02, "writer": 0.01}  # of one core


def spin(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def main() -> None:
    kind, *rest = sys.argv[1:]
    kept = bytearray(os.urandom(1 << 20)) * 96 if kind == "keeper" else b""
    one, other = socket.socketpair()
    while True:
        spin(_SHARES.get(kind, 0.0) * _PERIOD)
        if kind == "writer":
            with open(rest[0], "wb") as file:  # noqa: PTH123 # a script of its own
                file.write(b"x" * 65_536)
        if kind == "talker":
            for _ in range(50):
                one.send(b"x" * 1024)
                other.recv(1024)
        time.sleep(_PERIOD if kept == b"" else 10.0)


if __name__ == "__main__":
    main()

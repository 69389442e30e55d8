"""What a role lets go of once it has begun, as its file says it: alike in all."""

from msgspec import Struct


class Drop(Struct, frozen=True, forbid_unknown_fields=True):
    """`drop`: once it has begun, it lets go of all privileges that it does not go on needing
    (capabilities, new privileges, system calls, files: docs/privileges.md). What this machine has
    no means for is said and left out."""

    drop: bool = True

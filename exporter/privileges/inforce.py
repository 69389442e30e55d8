"""What is in force now, as the kernel says of every thread of this process.

Landlock is in no file of /proc: whether it holds is found by trying to open what it must refuse,
and by no thread being older than it. Read at each scrape; a thread that is without makes it 0.
"""

import os
from pathlib import Path
from typing import NamedTuple

from exporter.privileges.capabilities import held

_TASKS = Path("/proc/self/task")
_SECCOMP_FILTER = "2"  # SECCOMP_MODE_FILTER
IN_FORCE = "kernmesh_privileges_in_force"
MECHANISMS = ("capabilities", "landlock", "no_new_privs", "seccomp")


class InForce(NamedTuple):
    """`capabilities` are by number, those that any thread can use; `narrowed` is whether these are
    but what was to be kept. `threads` is how many were looked at."""

    no_new_privs: bool
    seccomp: bool
    landlock: bool
    narrowed: bool
    capabilities: frozenset[int]
    threads: int

    def mechanisms(self) -> dict[str, bool]:
        return dict(
            zip(
                MECHANISMS,
                (self.narrowed, self.landlock, self.no_new_privs, self.seccomp),
                strict=True,
            )
        )


def threads() -> frozenset[int]:
    """Ids of this process' threads."""
    return frozenset(int(each.name) for each in _TASKS.iterdir())


def fields_of(thread: int) -> dict[str, str]:
    """Its /proc status. Raises OSError where it has ended."""
    lines = (_TASKS / str(thread) / "status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def look(kept: frozenset[int] | None, outside: frozenset[int] | None) -> InForce:
    """`kept` are the capabilities that were to be kept, None: nothing was dropped. `outside` are
    threads that Landlock never met, None: nobody did."""
    new_privs = filtered = True
    usable: frozenset[int] = frozenset()
    seen = threads()
    for thread in seen:
        try:
            fields = fields_of(thread)
            usable |= held(fields).usable
        except (OSError, KeyError, ValueError):  # it has just ended
            continue
        new_privs &= fields.get("NoNewPrivs") == "1"
        filtered &= fields.get("Seccomp") == _SECCOMP_FILTER
    return InForce(
        no_new_privs=new_privs,
        seccomp=filtered,
        landlock=outside is not None and not outside & seen and _refused(),
        narrowed=kept is not None and usable <= kept,
        capabilities=usable,
        threads=len(seen),
    )


def _refused() -> bool:
    """Whether this thread may not open what everybody may."""
    try:
        os.close(os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except PermissionError:
        return True
    except OSError:
        return False
    return False

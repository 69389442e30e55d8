"""Which cgroups a request is about: found, and verified again once they are open.

The rule: without a target it is every offline cgroup of the configuration that there is.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack

from exporter.actuator import knobs
from exporter.actuator.cgroups import Folder, Hierarchy, NotAllowed, Roots, below, opened
from exporter.actuator.protocol import Knob, Target
from exporter.actuator.restore import GONE

_MOST_BELOW = 2000


class Choice:
    """Folders stay open for as long as the stack that they are given into."""

    def __init__(self, hierarchies: Mapping[str, Hierarchy], roots: Roots) -> None:
        self._hierarchies, self._roots = hierarchies, roots

    def folders(self, knob: Knob, target: Target | None, stack: ExitStack) -> Iterator[Folder]:
        """Raises NotAllowed, or OSError where a cgroup is gone."""
        hierarchy = self._hierarchy(knob)
        for path in self._paths(hierarchy, target):
            folder = stack.enter_context(opened(hierarchy, path))
            self._verify(folder, target)
            yield folder

    def below(self, folder: Folder, stack: ExitStack) -> Iterator[Folder]:
        """Those in it that are there. Raises OSError where one cannot be opened all the same."""
        for path in below(folder.hierarchy, folder.path, _MOST_BELOW):
            try:
                inner = stack.enter_context(opened(folder.hierarchy, path))
            except NotAllowed:
                continue
            except OSError as error:
                if error.errno in GONE:
                    continue
                raise
            yield inner

    def _hierarchy(self, knob: Knob) -> Hierarchy:
        controller = knobs.CONTROLLER[knob]
        found = self._hierarchies.get(controller)
        if found is None:
            raise NotAllowed(f"no cgroup hierarchy with the controller {controller} here")
        return found

    def _paths(self, hierarchy: Hierarchy, target: Target | None) -> list[str]:
        if target is not None:
            self._roots.check(target.path, target.uid)
            return [target.path.strip("/")]
        paths = self._roots.here(hierarchy)
        if not paths:
            raise NotAllowed(f"{hierarchy.name}: none of the offline cgroups is there")
        return paths

    def _verify(self, folder: Folder, target: Target | None) -> None:
        self._roots.check(folder.path, target.uid if target else "")
        if target is not None and target.inode not in (None, folder.inode):
            raise NotAllowed(
                f"cgroup {folder.path!r}: is another one than was meant, got inode "
                f"{folder.inode}, want {target.inode}"
            )

"""A hook and its ways: which is tried now, which were refused and why, which is taken.

Pure bookkeeping; kernel.py does the trying. What no hook names is a hook of its own, as upstream
attaches each function by itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from exporter.ebpf.spec import HookSpec


class Refusal(NamedTuple):
    """A function that was not taken: `reason` is one short line, `log` all that was said."""

    function: str
    section: str
    reason: str
    log: str = ""

    def __str__(self) -> str:
        return f"{self.section}: {self.reason}"


class HookReport(NamedTuple):
    """What became of one hook. `ways` are ELF sections, best first; `taken` is one of them, or
    None; `refusals` say why those before it (or all) were not. Functions that no hook names
    have a hook each, named like them and optional."""

    name: str
    ways: tuple[tuple[str, ...], ...]
    taken: tuple[str, ...] | None
    refusals: tuple[Refusal, ...]
    optional: bool

    @property
    def reason(self) -> str | None:
        """Why it has no way, each way in turn; None where it has one."""
        if self.taken is not None:
            return None
        return "; ".join(dict.fromkeys(str(refusal) for refusal in self.refusals))


class Hook:
    """A hook while it is being tried."""

    def __init__(self, spec: HookSpec, sections: Mapping[str, str]) -> None:
        self._spec, self._sections = spec, sections
        self._refusals: list[Refusal] = []
        self._position = 0
        self._pass_over_absent()

    @property
    def functions(self) -> tuple[str, ...]:
        """BPF functions of the way to try now; () where none is left."""
        ways = self._spec.any_of
        return ways[self._position] if self._position < len(ways) else ()

    @property
    def lost(self) -> bool:
        """No way is left, and the program cannot do without."""
        return not self.functions and not self._spec.optional

    def refuse(self, refusal: Refusal) -> None:
        """This way is not to be had: the next one is tried."""
        self._refusals.append(refusal)
        self._position += 1
        self._pass_over_absent()

    def _pass_over_absent(self) -> None:
        absent = next((name for name in self.functions if name not in self._sections), None)
        if absent is not None:
            self.refuse(Refusal(absent, absent, "the object has no function of this name"))

    def report(self) -> HookReport:
        ways = tuple(
            tuple(self._sections.get(name, name) for name in way) for way in self._spec.any_of
        )
        taken = ways[self._position] if self._position < len(ways) else None
        return HookReport(self._spec.name, ways, taken, tuple(self._refusals), self._spec.optional)


def hooks_of(specs: Sequence[HookSpec], sections: Mapping[str, str]) -> list[Hook]:
    """Hooks of a program whose object has these functions: name → ELF section."""
    named = {name for spec in specs for way in spec.any_of for name in way}
    own = [HookSpec(name, ((name,),), optional=True) for name in sections if name not in named]
    return [Hook(spec, sections) for spec in (*specs, *own)]


def functions_to_try(hooks: Iterable[Hook]) -> tuple[str, ...]:
    """All functions that the hooks want now, each once, in the hooks' order."""
    return tuple(dict.fromkeys(name for hook in hooks for name in hook.functions))

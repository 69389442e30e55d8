"""expression: a condition over variables that held for so many samples, or so long.

Caelus' detector of that name (FORMATS.md section 5): it fires when consecutive true samples are
at least `warning_count` OR last at least `warning_duration`. All is reckoned from the window, and
nothing is kept.
"""

from collections.abc import Iterator

from exporter.errors import NoData
from exporter.interference.detectors.runs import Run, aligned, run_of
from exporter.interference.expression import Tree, tree_of
from exporter.interference.model import Finding, View
from exporter.interference.syntax import Binary, Minus, Name, Node, Not, Number
from exporter.interference.variables import VARIABLES
from exporter.usage.window import Window

_SAMPLE_SECONDS = 10.0  # the slowest tier's; so many samples need so much of a window at most
_MOST_SECONDS = 900.0
_UNITS = {variable.name: variable.unit for variable in VARIABLES}


class Expression:
    def __init__(
        self,
        tree: Tree,
        warning_count: int | None = None,
        warning_duration: float | None = None,
    ) -> None:
        """Without count and duration, one true sample is enough."""
        self.tree = tree
        self.count = 1 if warning_count is None and warning_duration is None else warning_count
        self.duration = warning_duration
        counted = _SAMPLE_SECONDS * self.count if self.count and self.count > 1 else 0.0
        longest = max(counted, self.duration or 0.0)
        self._reach = min(longest * 1.25 + 5.0, _MOST_SECONDS) if longest > 0 else 0.0

    def evaluate(self, view: View) -> Finding | None:
        devices = view.devices() if self.tree.per_device else ()
        answer = self.tree.evaluate(view.value, devices)
        if answer is None:
            unknown = sorted(name for name in self._keys(view) if view.value(name) is None)
            raise NoData(f"{self.tree}: not known now: {', '.join(unknown) or 'its value'}")
        if answer is not True:
            return None
        run = self._run(view)
        return self._finding(view, run) if self._enough(run, view.now) else None

    def _keys(self, view: View) -> Iterator[str]:
        trees = map(self.tree.on, view.devices()) if self.tree.per_device else (self.tree,)
        for tree in trees:
            yield from tree.variables

    def _run(self, view: View) -> Run:
        if not self._reach:
            return Run(1, view.now)
        windows: dict[str, Window] = {k: view.window(k, self._reach) for k in self._keys(view)}
        devices = view.devices() if self.tree.per_device else ()
        samples: list[tuple[float, bool | None]] = []
        for elapsed, known in aligned(windows):
            answer = self.tree.evaluate(known.get, devices)
            samples.append((elapsed, None if answer is None else bool(answer)))
        return run_of(samples) or Run(1, view.now)

    def _enough(self, run: Run, now: float) -> bool:
        lasted = now - run.since
        return (self.count is not None and run.samples >= self.count) or (
            self.duration is not None and lasted >= self.duration
        )

    def _finding(self, view: View, run: Run) -> Finding:
        tree = self.tree
        for device in view.devices() if tree.per_device else ():
            if self.tree.on(device).evaluate(view.value) is True:
                tree = self.tree.on(device)
                break
        parts = [part for part in _comparisons(tree.root, wanted=True) if _holds(part, view)]
        said = "; ".join(dict.fromkeys(_said(part, view) for part in parts)) or str(tree)
        text = f"{said}, for {view.now - run.since:.0f} s" if view.now > run.since else said
        signal, value, threshold = next(
            (found for part in parts if (found := _measured(part, view)) is not None),
            (min(tree.variables, default=""), 1.0, 0.0),
        )
        unit = _UNITS.get(signal.partition("[")[0], "")
        return Finding(signal, value, threshold, unit, run.since, text)


def _comparisons(node: Node, wanted: bool) -> Iterator[tuple[Binary, bool]]:
    """Those that an answer rests on, the first first, with what they are to be."""
    match node:
        case Not(operand=operand):
            yield from _comparisons(operand, not wanted)
        case Binary(operator="&&" | "||"):
            yield from _comparisons(node.left, wanted)
            yield from _comparisons(node.right, wanted)
        case Binary(operator="<" | "<=" | ">" | ">=" | "==" | "!="):
            yield node, wanted


def _holds(part: tuple[Binary, bool], view: View) -> bool:
    node, wanted = part
    return tree_of(node).evaluate(view.value) is wanted


def _measured(part: tuple[Binary, bool], view: View) -> tuple[str, float, float] | None:
    """Signal, value, threshold: a variable stands on one side of it and a value on the other."""
    node, _ = part
    left, right = tree_of(node.left).evaluate(view.value), tree_of(node.right).evaluate(view.value)
    if left is None or right is None:
        return None
    for side, value, other in ((node.left, left, right), (node.right, right, left)):
        if isinstance(side, Name):
            return side.key, float(value), float(other)
    names = sorted(tree_of(node.left).variables or tree_of(node.right).variables)
    return (names[0], float(left), float(right)) if names else None


def _said(part: tuple[Binary, bool], view: View) -> str:
    node, wanted = part
    values = ", ".join(
        f"{name} {value:.4g}"
        for name in sorted(tree_of(node).variables)
        if (value := view.value(name)) is not None
    )
    text = str(tree_of(node)) if wanted else f"not {tree_of(node)}"
    return f"{text} ({values})" if not _is_plain(node.left, node.right) else f"{values}: {text}"


def _is_plain(left: Node, right: Node) -> bool:
    return isinstance(left, Name) and isinstance(right, Number | Minus)

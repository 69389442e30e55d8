"""A rules file to a RuleSet: `read_rules(path, facts)`. `.json` is Caelus' rules.json, else YAML.

The rule: everything that is wrong with a file is said at once, each thing in one line with its
place; a set is made of a file without errors only. Nothing here knows the engine or a clock.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from exporter.config.tree import Node
from exporter.config.wording import KeyPath, quote
from exporter.errors import ConfigError, Problem
from exporter.interference.detector_specs import (
    LONGEST_SECONDS,
    LONGEST_WANTED,
    LONGEST_WHY,
    DetectorSpec,
    ExpressionSpec,
    Maker,
    make,
)
from exporter.interference.model import (
    ActionSpec,
    Detector,
    Entry,
    Rule,
    RuleSet,
    Scope,
    WorkClass,
)
from exporter.interference.node_facts import NodeFacts
from exporter.interference.rules_actions import action_specs
from exporter.interference.rules_build import Detects
from exporter.interference.rules_file import (
    Detect,
    EntrySpec,
    RulesFile,
    RuleSpec,
)
from exporter.interference.rules_notes import Notes
from exporter.interference.rules_notify import notices
from exporter.interference.rules_words import EntryWords, RuleWords, detector

LONGEST_NAME = 100
_SCOPES: tuple[tuple[str, Scope], ...] = (
    ("node_rules", "node"),
    ("container_rules", "container"),
    ("app_rules", "app"),
)


class Parsed(NamedTuple):
    """A file's value with what is needed to speak of its lines. `strict`: of our own format."""

    file: str
    tree: Node | None
    value: RulesFile
    strict: bool
    warnings: tuple[Problem, ...] = ()


class Rules(NamedTuple):
    """`words` are parallel to the set's rules."""

    set: RuleSet
    words: tuple[RuleWords, ...]


def read_rules(path: Path, facts: NodeFacts, maker: Maker = make) -> Rules:
    """Raises ConfigError with all that is wrong."""
    if path.suffix == ".json":
        from exporter.interference.rules_json import parse_rules_json

        return build(parse_rules_json(path), facts, maker)
    from exporter.interference.rules_yaml import parse_rules_yaml

    return build(parse_rules_yaml(path), facts, maker)


def build(parsed: Parsed, facts: NodeFacts, maker: Maker = make) -> Rules:
    """Raises ConfigError with all that is wrong."""
    builder = _Builder(parsed, facts, maker)
    builder.take_all()
    if builder.notes.errors:
        raise ConfigError(sorted(builder.notes.errors, key=lambda problem: problem.line))
    found = builder.found
    why_idle = _why_idle(parsed.value, facts)
    warnings = [*parsed.warnings, *builder.notes.warnings]
    if why_idle is not None:
        found, warnings = [], [Problem(parsed.file, 0, "", why_idle)]
    return Rules(
        RuleSet(
            tuple(rule for rule, _, _ in found),
            tuple(identity for _, _, identity in found),
            tuple(map(str, sorted(warnings, key=lambda problem: problem.line))),
        ),
        tuple(words for _, words, _ in found),
    )


def _seconds(value: float) -> float:
    """Of nanoseconds, without what the division left over."""
    return round(float(value), 9)


def _why_idle(file: RulesFile, facts: NodeFacts) -> str | None:
    if file.disable:
        return "disable is true: no rule of it is asked"
    if file.rule_nodes and facts.addresses is not None and not facts.addresses & {*file.rule_nodes}:
        return f"rule_nodes has no address of this node ({', '.join(sorted(facts.addresses))})"
    return None


class _Judge(NamedTuple):
    """How detects of one entry are read. `hold` are the seconds of its `for:`."""

    detects: Detects
    recovers: bool
    hold: float


class _Builder:
    def __init__(self, parsed: Parsed, facts: NodeFacts, maker: Maker) -> None:
        self.notes = Notes(parsed.file, parsed.tree, parsed.strict)
        self.found: list[tuple[Rule, RuleWords, str]] = []
        self._file, self._facts, self._maker = parsed.value, facts, maker
        self._names: set[str] = set()

    def take_all(self) -> None:
        for key, scope in _SCOPES:
            for index, spec in enumerate(getattr(self._file.rule_check, key)):
                self._take(spec, scope, ("rule_check", key, index))
        for notice in notices(self._file):
            action = ActionSpec("schedule")
            entry = Entry((self._maker(notice.spec),), (), (action,), notice.hold)
            words = RuleWords((EntryWords((detector(notice.spec),), ()),), ())
            self._add(
                Rule(
                    name=notice.name,
                    scope="container",
                    place=self.notes.place(notice.path),
                    entries=(entry,),
                    recover=(),
                    check_interval=1.0,
                    handle_interval=60.0,
                    recover_interval=60.0,
                    cooldown=0.0,
                    severity="warning",
                    subjects=notice.subjects,
                    work=None,
                ),
                words,
                f"{notice}",
            )

    def _take(self, spec: RuleSpec, scope: Scope, path: KeyPath) -> None:
        notes = self.notes
        detects = Detects(spec, scope, self._facts, notes)
        entries, words = self._entries(spec.rules, spec, detects, (*path, "rules"))
        recover, recover_words = self._entries(
            spec.recover_rules, spec, detects, (*path, "recover_rules"), recovers=True
        )
        if notes.strict:
            for index, why in detects.metric_faults():
                notes.error((*path, "metrics", index), why)
        name = self._name(spec, path)
        subjects: str | None = spec.subjects
        if scope == "app":
            if detects.mixed():
                text = (
                    "asks several jobs, or all together (slo_min, slo_max) and one, want two rules"
                )
                notes.error(path, text)
            own = detects.subjects()
            if own is not None and subjects is not None:
                asked = ", ".join(sorted(detects.jobs)) or "all jobs together"
                text = f"stands in a rule that asks {asked} anyway"
                notes.tolerate((*path, "subjects"), text)
            subjects = own or subjects
        if not entries:
            if spec.rules and not notes.errors:
                notes.warn(path, f"rule {name} is left out: nothing of it can be asked here")
            return
        check = spec.check_interval or 60.0
        work: WorkClass | None = None if spec.work == "all" else spec.work
        self._add(
            Rule(
                name=name,
                scope=scope,
                place=notes.place(path),
                entries=entries,
                recover=recover,
                check_interval=_seconds(check),
                handle_interval=_seconds(spec.handle_interval or check),
                recover_interval=_seconds(spec.recover_interval or check),
                cooldown=_seconds(spec.cooldown),
                longest_clear=_seconds(spec.longest_clear),
                severity=spec.severity,
                subjects=subjects,
                work=work if scope == "container" else None,
            ),
            RuleWords(words, recover_words),
            repr(spec),
        )

    def _name(self, spec: RuleSpec, path: KeyPath) -> str:
        place = f"{path[1]}[{path[2]}]"
        if not spec.name:
            if self.notes.strict:
                self.notes.error((*path, "name"), "is missing, want the rule's name")
            return place
        if not spec.name.isprintable() or len(spec.name) > LONGEST_NAME:
            text = f"got {quote(spec.name)}, want at most {LONGEST_NAME} printable characters"
            self.notes.error((*path, "name"), text)
        if spec.name in self._names:
            self.notes.tolerate(
                (*path, "name"),
                f"is there twice, got {spec.name}",
                f"this rule is called {spec.name} ({place})",
            )
            return f"{spec.name} ({place})"
        self._names.add(spec.name)
        return spec.name

    def _add(self, rule: Rule, words: RuleWords, text: str) -> None:
        """The identity is of what the rule says and of what `auto` came to, not of its place."""
        said = f"{rule.scope}\n{rule.name}\n{text}\n{words}"
        self.found.append((rule, words, hashlib.sha256(said.encode()).hexdigest()))

    def _entries(
        self,
        specs: Sequence[EntrySpec],
        rule: RuleSpec,
        detects: Detects,
        path: KeyPath,
        recovers: bool = False,
    ) -> tuple[tuple[Entry, ...], tuple[EntryWords, ...]]:
        entries: list[Entry] = []
        words: list[EntryWords] = []
        for index, spec in enumerate(specs):
            where = (*path, index)
            any_key = "any" if spec.any_of else "detects"
            any_listed = spec.any_of or spec.detects
            hold = self._hold(spec, recovers, where)
            judge = _Judge(detects, recovers, hold)
            any_of, any_words = self._specs(any_listed, judge, (*where, any_key))
            all_of, all_words = self._specs(spec.all_of, judge, (*where, "all"))
            actions = action_specs(spec.actions, rule.name, (*where, "actions"), self.notes)
            if spec.hold:
                self._one_hold(spec, any_listed, where)
            # an `all` that cannot be asked, or an `any` of which nothing is left, never holds
            if len(all_of) < len(spec.all_of) or (any_listed and not any_of):
                continue
            clear = None if spec.clear is None else _seconds(spec.clear)
            entries.append(Entry(any_of, all_of, actions, hold, clear))
            words.append(EntryWords(any_words, all_words))
        return tuple(entries), tuple(words)

    def _hold(self, spec: EntrySpec, recovers: bool, where: KeyPath) -> float:
        """Seconds that the entry must hold: its `for:`, which the engine remembers however long it
        is; or the duration of its only detect, where no window reaches back so far."""
        hold, alone = spec.hold, len(spec.detects) + len(spec.any_of) + len(spec.all_of) == 1
        for key, listed in (("detects", spec.detects), ("any", spec.any_of), ("all", spec.all_of)):
            for index, detect in enumerate(listed):
                lasts = detect.args.warning_duration
                if lasts is None or lasts <= LONGEST_SECONDS or detect.args.warning_count:
                    continue
                if alone and not (recovers or hold):
                    return _seconds(lasts)
                place = (*where, key, index, "args", "warning_duration")
                beside = "" if recovers else " where it does not stand alone"
                self._too_long(place, lasts, beside)
        if recovers and hold is not None and hold > LONGEST_SECONDS:
            self._too_long((*where, "for"), hold)
            return LONGEST_SECONDS
        return _seconds(hold or 0.0)

    def _too_long(self, path: KeyPath, got: float, where: str = "") -> None:
        text = f"too long, got {got}, want {LONGEST_WANTED}{where}: {LONGEST_WHY}"
        self.notes.tolerate(path, text, "14m is taken")

    def _one_hold(self, spec: EntrySpec, listed: Sequence[Detect], where: KeyPath) -> None:
        for detect in (*listed, *spec.all_of):
            if detect.args.warning_count or detect.args.warning_duration:
                text = "stands beside warning_count or warning_duration, want one of them"
                self.notes.tolerate((*where, "for"), text)
                return

    def _specs(
        self, listed: Sequence[Detect], judge: "_Judge", path: KeyPath
    ) -> tuple[tuple[Detector, ...], tuple[str, ...]]:
        found: list[DetectorSpec] = []
        for index, detect in enumerate(listed):
            spec = judge.detects.spec(detect, (*path, index), judge.recovers)
            if isinstance(spec, ExpressionSpec) and judge.hold:
                # one sample is enough, and it looks back as far to say since when
                spec = ExpressionSpec(spec.tree, 1, judge.hold)
            if spec is not None:
                found.append(spec)
        return tuple(map(self._maker, found)), tuple(map(detector, found))

"""The table of targets: by name, in the order in which they are run.

A target's module is imported when it is asked for, so that atheris sees the parsers being imported.
"""

from importlib import import_module

from tests.fuzz.target import Target

NAMES = (
    *("files", "rules", "objects", "packets", "replies", "proc"),
    *("cgroups", "kube", "metrics", "requests", "actuator", "state"),
)


def load(name: str) -> Target:
    found = import_module(f"tests.fuzz.targets.{name}").TARGET
    assert isinstance(found, Target) and found.name == name
    return found

"""Jobs of a caelus.json, beside those of agent.yaml."""

import json
from pathlib import Path

import pytest

from exporter.config.agent import Job
from exporter.config.scalars import Regexp
from exporter.errors import ConfigError
from exporter.usage.jobs_file import job_patterns

WHOLE = {
    "k8s_config": {"kube_config": ""},
    "online": {
        "enable": True,
        "pid_to_cgroup": {"pids_check_interval": "1m", "batch_num": 5, "batch_interval": "1ms"},
        "jobs": [
            {"name": "osd", "command": "/usr/bin/ceph-osd .*", "metrics": [{"name": "latency"}]},
            {"name": "web", "command": "nginx"},
        ],
    },
}


def file(folder: Path, content: object) -> str:
    path = folder / "caelus.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_its_online_jobs_are_read_and_all_else_is_passed_over(tmp_path: Path) -> None:
    patterns = job_patterns([], file(tmp_path, WHOLE))
    assert [(each.name, each.command.pattern) for each in patterns] == [
        ("osd", "/usr/bin/ceph-osd .*"),
        ("web", "nginx"),
    ]


def test_a_job_of_agent_yaml_takes_the_place_of_one_of_its_name(tmp_path: Path) -> None:
    patterns = job_patterns([Job("web", Regexp("^caddy"))], file(tmp_path, WHOLE))
    found = {each.name: each.command.pattern for each in patterns}
    assert found == {"web": "^caddy", "osd": "/usr/bin/ceph-osd .*"}


@pytest.mark.parametrize(("settings", "movable"), [({"batch_num": 5}, True), (None, False)])
def test_jobs_of_the_file_are_movable_only_where_it_has_pid_to_cgroup(
    settings: object, movable: bool, tmp_path: Path
) -> None:
    online = {"jobs": [{"name": "osd", "command": "osd"}], "pid_to_cgroup": settings}
    patterns = job_patterns([Job("web", Regexp("nginx"))], file(tmp_path, {"online": online}))
    assert {each.name: each.movable for each in patterns} == {"web": True, "osd": movable}


@pytest.mark.parametrize(
    "content", [{}, {"online": {}}, {"online": None}, {"online": {"jobs": None}}]
)
def test_a_file_without_jobs_gives_none(content: object, tmp_path: Path) -> None:
    assert job_patterns([], file(tmp_path, content)) == []


@pytest.mark.parametrize(
    ("content", "want"),
    [
        ("{", "want a caelus.json"),
        ({"online": {"jobs": [{"name": "a"}]}}, "missing required field `command`"),
        ({"online": {"jobs": [{"name": 1, "command": "x"}]}}, "Expected `str`, got `int`"),
        (
            {"online": {"jobs": [{"name": "a", "command": "(x"}]}},
            "online.jobs[0].command: not a regular expression: missing ): (x, got '(x', want",
        ),
        ({"online": {"jobs": [{"name": "a", "command": ""}]}}, "online.jobs[0].command: is empty"),
        ({"online": {"jobs": [{"name": "", "command": "x"}]}}, "online.jobs[0].name: is empty"),
        (
            {"online": {"jobs": [{"name": "a", "command": "x"}, {"name": "a", "command": "y"}]}},
            "online.jobs[1].name: is there twice, got 'a'",
        ),
    ],
)
def test_a_bad_file_is_refused_in_one_line(content: object, want: str, tmp_path: Path) -> None:
    name = file(tmp_path, content)
    with pytest.raises(ConfigError) as caught:
        job_patterns([], name)
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"{name}: ")
    assert want in str(problem)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"/nowhere/caelus\.json: cannot be read"):
        job_patterns([], "/nowhere/caelus.json")


@pytest.mark.parametrize("inner", ['{"a":' * 5000, "[" * 5000])
def test_a_file_that_is_nested_without_end_is_told_of_in_a_line(tmp_path: Path, inner: str) -> None:
    with pytest.raises(ConfigError, match=r"want a caelus\.json"):
        job_patterns([], file(tmp_path, '{"online": {"pid_to_cgroup": {"a": ' + inner))


def test_a_file_that_is_no_utf_8_is_told_of_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "caelus.json").write_bytes(b'{"online": {"jobs": [{"name": "\xff"}]}}')
    with pytest.raises(ConfigError, match=r"want a caelus\.json"):
        job_patterns([], str(tmp_path / "caelus.json"))

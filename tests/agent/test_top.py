"""`kernmesh top` against a real agent, and without one; and the page of that agent."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.agent.running import COMMAND, WATCHDOG_SECONDS, running

pytestmark = pytest.mark.bpf


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "agent.yaml"
    file.write_text(
        "ebpf: {programs: [timers]}\nusage: {state_dir: null, interval: 1s}\n"
        f"pingmesh: {{pinglist: {tmp_path}/list.yaml, allow: [loopback]}}\n"
        "pressure: {enabled: false}\n"
    )
    (tmp_path / "list.yaml").write_text(
        "setting: {interval: 10}\nmesh: {a: {name: me, ips: ['127.0.0.1:1']}}\n"
    )
    return file


def top(*words: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "top", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=WATCHDOG_SECONDS)


def test_one_frame_of_a_real_agent_and_its_page(config: Path) -> None:
    with running("--config", config) as agent:
        agent.samples()
        done = top("--once", "--url", agent.url.removeprefix("http://"))
        assert (done.returncode, done.stderr) == (0, "")
        assert max(map(len, done.stdout.splitlines())) <= 80
        assert "Programs: 1 of 1 running" in done.stdout
        [timers] = [line for line in done.stdout.splitlines() if line.startswith("timers")]
        assert timers.split()[1].endswith("/s")
        status = json.loads(agent.get("/status.json"))
        names = [each["name"] for each in status["sections"]]
        assert names[0] == "pingmesh"
        assert {each["name"] for each in status["usage"]} >= {"CPU", "Memory"}
        html = agent.get("/")
        assert html.count('<div class="chart">') == len(status["usage"]) == 9
        assert '<form action="/probe"' in html
        assert status["sections"][0]["title"] in html


def test_without_an_agent_it_says_so_in_one_line() -> None:
    done = top("--once", "--url", "http://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("kernmesh: http://127.0.0.1:1: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [("--interval", "0"), ("--cacert", "/no/such")])
def test_a_wrong_flag_is_one_line(words: tuple[str, ...]) -> None:
    done = top(*words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)


def test_live_it_waits_for_an_agent_that_is_away_and_ends_at_ctrl_c() -> None:
    main, side = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "top", "--url", "http://127.0.0.1:1", "--interval", "0.5"],
        stdin=side,
        stdout=side,
        stderr=side,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"},
    )
    os.close(side)
    try:
        shown = b""
        while shown.count(b"does not answer") < 2:
            shown += os.read(main, 4096)
        process.send_signal(signal.SIGINT)
        assert process.wait(WATCHDOG_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
        os.close(main)


def test_an_agent_never_imports_what_only_top_needs() -> None:
    code = "import sys, exporter.app; print('rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n"

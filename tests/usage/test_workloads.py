"""What is put together for what the configuration says."""

from pathlib import Path

import pytest

from exporter.config.agent import Job, Pods, Usage
from exporter.config.scalars import Regexp
from exporter.errors import ConfigError
from exporter.testing import FakeClock, fake_host
from exporter.usage.workloads import workloads


def test_jobs_are_read_only_where_there_are_any(tmp_path: Path) -> None:
    host = fake_host(tmp_path, {})
    without = workloads(host, Usage(), FakeClock())
    job = Job("web", Regexp("nginx"))
    with_jobs = workloads(host, Usage(jobs=(job,)), FakeClock())
    assert "jobs" not in dict(without.collectors)
    assert "jobs" not in {source.name for source in without.sources}
    assert "jobs" in dict(with_jobs.collectors)
    assert "jobs" in {source.name for source in with_jobs.sources}


def test_on_a_machine_with_nothing_every_source_reads_nothing(tmp_path: Path) -> None:
    for source in workloads(fake_host(tmp_path, {}), Usage(), FakeClock()).sources:
        assert source.make()(0.0) == {}


def test_the_api_is_watched_only_where_names_come_from_it(tmp_path: Path) -> None:
    host = fake_host(tmp_path, {})
    assert workloads(host, Usage(), FakeClock(), "here").watch is None
    assert workloads(host, Usage(pods=Pods("api")), FakeClock(), "here").watch is not None


def test_a_bad_jobs_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        workloads(fake_host(tmp_path, {}), Usage(jobs_file="/nowhere"), FakeClock())

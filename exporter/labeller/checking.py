"""`kernmesh labeller --check`: every file that a labeller would read; nothing is asked over the
network."""

from collections.abc import Iterator
from pathlib import Path

from exporter.errors import Problem
from exporter.identity import Identity
from exporter.kube.access import check as check_access
from exporter.labeller.config import LabellerConfig
from exporter.labeller.settings import check
from exporter.web.protection import check as check_web


def check_labeller(config: LabellerConfig, file: Path, web: Path | None) -> Iterator[Problem]:
    """`file` is where the configuration stands; `web` goes before the web configuration file that
    it names."""
    yield from check_web(web, config.server.web_config)
    yield from check_access(config.kubeconfig, file, "kubeconfig")
    for section, asked in (("agents", config.agents), ("prometheus", config.prometheus)):
        if asked is not None:
            who = Identity(section, asked.tls, asked.bearer_token_file, asked.basic_auth)
            yield from who.check(file)
    yield from check(config)

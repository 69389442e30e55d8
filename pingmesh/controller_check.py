"""`kernmesh check --controller`: every file that a controller would read; nothing is asked over the
network."""

from collections.abc import Iterator
from pathlib import Path

from exporter.errors import ConfigError, Problem
from exporter.identity import Identity
from exporter.kube.access import check as check_access
from exporter.web.protection import check as check_web
from pingmesh.controller_config import load_controller
from pingmesh.inventory import read_inventory
from pingmesh.pinglist import read_pinglist


def check_controller(path: Path, web: Path | None = None) -> Iterator[Problem]:
    """What is wrong in controller.yaml, the web configuration file (`web` goes before the one that
    is named there), the inventory, the custom pinglist, the kubeconfig, what is shown to those who
    are asked for results."""
    try:
        config = load_controller(path)
    except ConfigError as error:
        yield from error.problems
        return
    yield from check_web(web, config.server.web_config)
    for file, read in ((config.inventory, read_inventory), (config.pinglist, read_pinglist)):
        try:
            if file is not None:
                read(Path(file))
        except ConfigError as error:
            yield from error.problems
    kubernetes = config.source.kubernetes
    if kubernetes is not None:
        yield from check_access(kubernetes.kubeconfig, path, "source.kubernetes.kubeconfig")
    mesh = config.mesh
    if mesh.enabled:
        who = Identity("mesh", mesh.tls, mesh.bearer_token_file, mesh.basic_auth)
        yield from who.check(path)

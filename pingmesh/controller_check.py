"""`kernmesh check --controller`: every file that a controller would read; nothing is asked over the
network."""

from collections.abc import Iterator
from pathlib import Path

from exporter.config import line_of
from exporter.errors import ConfigError, KernmeshError, Problem
from pingmesh.controller_config import load_controller
from pingmesh.inventory import read_inventory
from pingmesh.pinglist import read_pinglist


def check_controller(path: Path) -> Iterator[Problem]:
    """What is wrong in controller.yaml, the inventory, the custom pinglist, the kubeconfig."""
    try:
        config = load_controller(path)
    except ConfigError as error:
        yield from error.problems
        return
    for file, read in ((config.inventory, read_inventory), (config.pinglist, read_pinglist)):
        try:
            if file is not None:
                read(Path(file))
        except ConfigError as error:
            yield from error.problems
    kubernetes = config.source.kubernetes
    if kubernetes is not None and kubernetes.kubeconfig is not None:
        from exporter.kube.access import read_kubeconfig

        try:
            read_kubeconfig(Path(kubernetes.kubeconfig))
        except KernmeshError as error:
            key = "source.kubernetes.kubeconfig"
            yield Problem(str(path), line_of(path, key), key, str(error))

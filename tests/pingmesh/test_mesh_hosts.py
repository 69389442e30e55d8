"""Real agents on hosts of their own, a real controller: what is cut is named, and nothing else."""

from typing import Any

from tests.pingmesh.hosts import mesh_of, well


def named(found: dict[str, Any]) -> list[tuple[str, list[str]]]:
    return sorted((fault["kind"], fault["members"]) for fault in found["faults"])


def test_of_eighteen_hosts_a_rack_a_node_and_a_pair_are_cut_and_named() -> None:
    with mesh_of((3, 2, 3)) as hosts:
        found = hosts.read(well)
        assert well(found), found
        assert found["members"] == 18

        inside = hosts.of_rack("z1", "r0")
        hosts.drop_between(inside, [host for host in hosts.hosts if host not in inside])
        node = hosts.of_rack("z0", "r1")[1]
        hosts.unplug(node)
        one, other = hosts.of_rack("z2", "r1")[:2]
        hosts.lose(one, other)

        wanted = [
            ("black hole", [one.name, other.name]),
            ("node down", [node.name]),
            ("rack isolated", ["z1/r0"]),
        ]
        found = hosts.read(lambda found: named(found) == wanted)
        assert named(found) == wanted
        assert found["silent"] == [node.name]
        page = hosts.get("/mesh").decode()
        assert '<strong class="off">rack isolated</strong> <strong>z1/r0</strong>' in page

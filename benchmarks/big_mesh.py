"""The mesh that issue 5 measures: 10,000 nodes in 200 racks and 3 zones, both families each."""

from pingmesh.topology import Member

NODES, RACK, ZONES = 10_000, 50, 3
RACKS = NODES // RACK
SIZE = f"{NODES:,} nodes, {RACKS} racks, {ZONES} zones"


def name_of(i: int) -> str:
    return f"node-{i:05d}"


def zone_of(i: int) -> str:
    return f"zone-{i // RACK % ZONES}"


def rack_of(i: int) -> str:
    return f"rack-{i // RACK:03d}"


def addresses_of(i: int) -> tuple[str, str]:
    return f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}", f"fd00::{i:x}"


def members() -> list[Member]:
    return [Member(name_of(i), zone_of(i), rack_of(i), addresses_of(i)) for i in range(NODES)]

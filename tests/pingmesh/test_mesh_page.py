"""The page and its JSON say the same; the page needs no script, loads nothing, escapes all."""

import asyncio
import functools
from pathlib import Path

import httpx
import jsonschema
import msgspec
import pytest
from starlette.applications import Starlette

from exporter.config import schema_of
from exporter.testing import FakeClock
from pingmesh.controller_config import MeshConfig, Thresholds
from pingmesh.lists import Lists, Shared
from pingmesh.mesh_reading import MeshJson, Reading, as_json, make_reading
from pingmesh.mesh_watch import Meshes, MeshWatch
from pingmesh.pages.mesh import Asking, NoSuchPlace, choose, mesh_page
from pingmesh.topology import Member, Topology
from tests.pages.outline import Outline
from tests.pingmesh.confusion import Mesh, members, scenario


def reading(mesh: Mesh, problem: str | None = None) -> Reading:
    return make_reading(
        at=1_700_000_000.0,
        window=600.0,
        origin="the agents' metrics",
        problem=problem,
        topology=mesh.topology,
        addresses=mesh.addresses,
        thresholds=Thresholds(),
        reports=mesh.reports,
    )


TOP = Asking()


def shown(found: Reading, asking: Asking = TOP, stale: str | None = None) -> Outline:
    return Outline(mesh_page(found, choose(found, asking)[1], stale, "1.2.3"))


def unheard(zones: int, racks: int, nodes: int) -> Reading:
    topology = Topology(members(zones, racks, nodes))
    addresses = {name: topology.member(name).addresses[0] for name in topology.names}
    return reading(Mesh(topology, {}, addresses))


def one_rack(nodes: int) -> Reading:
    topology = Topology(
        [Member(f"n{n:05}", "z", "", (f"10.0.{n // 256}.{n % 256}",)) for n in range(nodes)]
    )
    return bare(topology)


def bare(topology: Topology) -> Reading:
    """Nobody is heard of; the matrices of racks are not reckoned for their own sake."""
    addresses = {name: topology.member(name).addresses[0] for name in topology.names}
    return reading(Mesh(topology, {}, addresses))


@functools.cache
def large() -> Reading:
    """250 racks of 4 in one zone."""
    return bare(Topology(members(1, 250, 4)))


def test_a_fault_is_named_with_its_evidence() -> None:
    fault, mesh = scenario("rack uplink", 1)
    page = shown(reading(mesh))
    assert f"rack uplink {fault.members[0]} :" in page.text
    assert "probes lost" in page.text
    assert page.cells.count("red") >= 10
    assert "Suspects by votes" in page.text


def test_a_mesh_that_is_well_says_so_and_is_green() -> None:
    _, mesh = scenario("none", 1)
    page = shown(reading(mesh))
    assert "Nothing that would name a fault." in page.text
    assert set(page.cells) == {"green"}
    assert "18 agents in 6 racks, 18 heard of" in page.text


def test_a_mesh_that_nobody_hears_of_is_white_and_not_well() -> None:
    page = shown(unheard(3, 2, 3))
    assert set(page.cells) == {"none"}
    assert "Nothing is heard of any agent." in page.text
    assert "Not heard of: z0r0n0, z0r0n1" in page.text


def test_before_the_first_reading_the_page_says_that() -> None:
    page = Outline(mesh_page(None, None, "file: gone", "1"))
    assert "Nothing is known yet" in page.text
    assert "The members may be out of date: file: gone" in page.text


def test_problems_stand_on_the_page() -> None:
    _, mesh = scenario("none", 1)
    assert "No results: HTTP 500" in shown(reading(mesh, "HTTP 500")).text


def test_the_page_leads_to_networks_that_have_members() -> None:
    nodes = Lists(Topology(members(1, 2, 3)), Shared())

    async def links(path: str, pods: Lists | None) -> list[str]:
        def watch(path: str, lists: Lists | None) -> MeshWatch:
            return MeshWatch(path, MeshConfig(), lambda: lists, lambda: None, FakeClock(), "1")

        meshes = Meshes({"nodes": watch("/mesh", nodes), "pods": watch("/mesh/pods", pods)})
        transport = httpx.ASGITransport(Starlette(routes=meshes.routes()))
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return Outline((await client.get(path)).text).links

    assert "/mesh/pods" in asyncio.run(links("/mesh", nodes))
    assert "/mesh/pods" not in asyncio.run(links("/mesh", None))
    assert "/mesh" in asyncio.run(links("/mesh/pods", None))


def test_the_page_needs_no_script_and_loads_nothing() -> None:
    _, mesh = scenario("node down", 1)
    page = shown(reading(mesh))
    assert page.loads == []
    assert page.tags.isdisjoint({"script", "link", "img", "iframe", "object", "form"})
    raw = mesh_page(reading(mesh), None, None, "1")
    assert 'name="viewport"' in raw
    assert "prefers-color-scheme: dark" in raw
    assert "@import" not in raw
    assert "url(" not in raw


def test_colours_are_not_all_that_tells() -> None:
    _, mesh = scenario("rack isolated", 0)
    text = shown(reading(mesh)).text
    assert "■" in text
    assert "100%" in text


def test_names_are_escaped_and_ipv6_names_are_whole() -> None:
    odd = Topology(
        [
            Member("fd00::1", '<b>"&', "r", ("fd00::1",)),
            Member("fd00::2", '<b>"&', "r", ("fd00::2",)),
        ]
    )
    found = reading(Mesh(odd, {}, {"fd00::1": "fd00::1", "fd00::2": "fd00::2"}))
    rack = '<b>"&/r'
    page = shown(found, Asking(rack=rack, to=rack), "<i>")
    assert "b" not in page.tags
    assert "i" not in page.tags
    assert rack in page.text
    assert "fd00::1, fd00::2" in page.text


def test_cells_lead_to_the_nodes_behind_them_and_back() -> None:
    _, mesh = scenario("none", 1)
    found = reading(mesh)
    assert "?rack=z0%2Fr0&to=z2%2Fr1" in shown(found).links
    inner = shown(found, Asking(rack="z0/r0", to="z0/r0"))
    assert "Nodes of z0/r0 to nodes of z0/r0" in inner.text
    assert inner.cells.count("blank") == 3
    assert inner.cells.count("green") == 6
    assert "?" in inner.links


def test_a_mesh_of_many_racks_begins_with_its_zones() -> None:
    found = unheard(3, 30, 2)
    top = shown(found)
    assert len(top.cells) == 9
    assert "?zone=z0&to_zone=z2" in top.links
    part = shown(found, Asking(zone="z0", to_zone="z2"))
    assert len(part.cells) == 900
    assert "?rack=z0%2Fr0&to=z2%2Fr9" in part.links
    assert "?zone=z0&to_zone=z2" in shown(found, Asking(rack="z0/r0", to="z2/r9")).links


@pytest.mark.parametrize(
    ("asking", "line"),
    [
        (Asking(rack="x", to="z0/r0"), "no rack 'x' in the mesh"),
        (Asking(rack="z0/r0"), "no rack None in the mesh"),
        (Asking(zone="z0", to_zone="z9"), "no zone 'z9' in the mesh"),
    ],
)
def test_what_is_not_there_is_not_shown(asking: Asking, line: str) -> None:
    with pytest.raises(NoSuchPlace, match=line):
        choose(unheard(3, 2, 3), asking)


def test_the_json_is_what_its_schema_says_and_what_the_page_shows() -> None:
    fault, mesh = scenario("node down", 2)
    found = reading(mesh)
    matrix, sheet = choose(found, TOP)
    raw = msgspec.json.encode(as_json(found, matrix, "file: gone"))
    decoded = msgspec.json.decode(raw)
    jsonschema.Draft202012Validator(schema_of(MeshJson)).validate(decoded)
    assert decoded["faults"][0]["kind"] == "node down"
    assert decoded["faults"][0]["members"] == list(fault.members)
    assert decoded["silent"] == list(fault.members)
    assert decoded["stale"] == "file: gone"
    assert [each["colour"] for each in decoded["cells"]] == [
        each.colour for line in sheet.lines for each in line
    ]


def test_unknown_numbers_are_null_and_not_zero() -> None:
    found = unheard(1, 2, 1)
    cells = as_json(found, found.racks, None).cells
    assert {(each.p99_ms, each.drop) for each in cells} == {(None, None)}


def test_the_template_is_shipped_with_the_package() -> None:
    import pingmesh.pages

    assert (Path(pingmesh.pages.__file__).parent / "mesh.html.j2").is_file()


def test_nodes_lead_to_their_pair() -> None:
    _, mesh = scenario("none", 1)
    inner = shown(reading(mesh), Asking(rack="z0/r0", to="z0/r0"))
    assert "?node=z0r0n0&peer=z0r0n1" in inner.links
    assert "?node=z0r0n0&peer=z0r0n0" not in inner.links


def test_the_worst_pairs_of_racks_are_links_on_the_first_page_only() -> None:
    fault, mesh = scenario("rack uplink", 1)
    found = reading(mesh)
    top = shown(found)
    assert "Worst pairs of racks" in top.text
    assert fault.members[0].replace("/", "%2F") in top.links[1]
    assert "Worst pairs" not in shown(found, Asking(rack="z0/r0", to="z0/r0")).text


def test_colours_are_words_for_who_hears_the_page() -> None:
    assert "no data ?" in shown(unheard(1, 2, 1)).text


@pytest.mark.parametrize(
    ("asking", "cells"),
    [
        (TOP, 1),
        (Asking(zone="z0", to_zone="z0"), 60 * 60),
        (Asking(zone="z0", to_zone="z0", row="60", column="240"), 60 * 10),
        (Asking(rack="z0/r0", to="z0/r1"), 4 * 4),
    ],
)
def test_a_mesh_of_hundreds_of_racks_is_a_page_at_every_step(asking: Asking, cells: int) -> None:
    found = large()
    page = shown(found, asking)
    assert len(page.cells) == cells
    assert len(mesh_page(found, choose(found, asking)[1], None, "1")) < 2_000_000


def test_rows_and_columns_that_do_not_fit_are_a_link_away() -> None:
    page = shown(large(), Asking(zone="z0", to_zone="z0", row="60"))
    for text in ("sources 1 to 60 of 250", "sources 121 to 180 of 250", "targets 61 to 120 of 250"):
        assert text in page.text
    assert "?zone=z0&to_zone=z0&row=120&column=0" in page.links


def test_a_thousand_nodes_without_racks_are_shown_in_parts() -> None:
    found = one_rack(1000)
    page = shown(found, Asking(rack="z", to="z", row="960"))
    assert len(page.cells) == 40 * 60
    assert "sources 901 to 960 of 1000" in page.text


@pytest.mark.parametrize("text", ["x", "-1", "1", "99999999", "²"])
@pytest.mark.parametrize("name", ["row", "column"])
def test_an_offset_that_is_none_or_beyond_the_end_is_said(name: str, text: str) -> None:
    with pytest.raises(NoSuchPlace, match=f"{name}: got"):
        choose(unheard(1, 2, 1), Asking(rack="z0/r0", to="z0/r1", **{name: text}))

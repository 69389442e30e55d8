"""Which cgroups are pods and containers: found wherever kubepods is, listed when they change."""

import shutil
from pathlib import Path

import pytest

from exporter.host.podtree import PodTree

UID = "0c9f1b2e-6f3a-4d1e-9d7c-1f2e3d4c5b6a"
UNIT_UID = UID.replace("-", "_")
ID, ID2 = "3f" * 32, "4e" * 32


def tree_of(folder: Path, *paths: str) -> PodTree:
    for path in paths:
        (folder / path).mkdir(parents=True)
    tree = PodTree(f"{folder}/")
    tree.refresh(0.0)
    return tree


@pytest.mark.parametrize(
    "top",
    [
        "kubepods",
        "k8s.io/kubepods",
        "kubelet.slice/kubelet-kubepods.slice",
        f"docker/{ID2}/kubelet/kubepods",
        f"system.slice/docker-{ID2}.scope/kubelet.slice/kubelet-kubepods.slice",
    ],
)
def test_kubepods_is_found_where_kubelet_was_told_to_have_it(top: str, tmp_path: Path) -> None:
    path = f"{top}/burstable/pod{UID}/{ID}"
    tree = tree_of(tmp_path, path, "user.slice/user-1000.slice/session.scope")
    assert set(tree.containers) == {path}
    assert set(tree.pods) == {f"{top}/burstable/pod{UID}"}
    assert set(tree.levels) == {top, f"{top}/burstable"}


def test_containers_that_containerd_put_elsewhere_are_found_within_a_minute(tmp_path: Path) -> None:
    first = (
        f"system.slice/containerd.service/kubepods-burstable-pod{UNIT_UID}.slice:cri-containerd:"
    )
    tree = tree_of(tmp_path, first + ID)
    assert {pod.uid for pod in tree.containers.values()} == {UID}
    (tmp_path / (first + ID2)).mkdir()
    tree.refresh(60.0)
    assert set(tree.containers) == {first + ID, first + ID2}
    (tmp_path / (first + ID)).rmdir()
    tree.refresh(120.0)
    assert set(tree.containers) == {first + ID2}


def test_what_is_beside_and_in_a_container_is_none(tmp_path: Path) -> None:
    pod = f"kubepods.slice/kubepods-pod{UNIT_UID}.slice"
    tree = tree_of(
        tmp_path,
        f"{pod}/crio-{ID}.scope/container",
        f"{pod}/crio-conmon-{ID}.scope",
        f"{pod}/something",
    )
    assert set(tree.containers) == {f"{pod}/crio-{ID}.scope"}
    assert set(tree.pods) == {pod}


def test_changes_are_counted_only_where_there_are_any(tmp_path: Path) -> None:
    pod = f"kubepods/pod{UID}"
    tree = tree_of(tmp_path, f"{pod}/{ID}")
    seen = tree.changes
    for now in (1.0, 2.0, 61.0):
        tree.refresh(now)
    assert tree.changes == seen
    (tmp_path / pod / ID2).mkdir()
    tree.refresh(62.0)
    assert tree.changes == seen + 1
    assert set(tree.containers) == {f"{pod}/{ID}", f"{pod}/{ID2}"}


def test_a_container_in_anothers_place_is_found_when_the_other_is_lost(tmp_path: Path) -> None:
    pod = f"kubepods/pod{UID}"
    tree = tree_of(tmp_path, f"{pod}/{ID}")
    (tmp_path / pod / ID).rmdir()
    (tmp_path / pod / ID2).mkdir()
    tree.lost(f"{pod}/{ID}")
    assert tree.containers == {}
    tree.refresh(1.0)
    assert set(tree.containers) == {f"{pod}/{ID2}"}


def test_a_level_that_is_gone_takes_its_pods_along(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, f"kubepods/burstable/pod{UID}/{ID}", "kubepods/besteffort")
    shutil.rmtree(tmp_path / "kubepods/burstable")
    tree.refresh(1.0)
    assert (tree.containers, tree.pods) == ({}, {})
    assert set(tree.levels) == {"kubepods", "kubepods/besteffort"}
    shutil.rmtree(tmp_path / "kubepods")
    tree.refresh(2.0)
    assert tree.levels == {}
    (tmp_path / "kubepods").mkdir()
    tree.refresh(61.0)
    assert set(tree.levels) == {"kubepods"}

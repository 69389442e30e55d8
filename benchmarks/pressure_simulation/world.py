"""A cluster's nodes in memory, as much of a KubeApi as the labeller writes through, and its clock.

An apply keeps what it should: labels and conditions of a manager, and whose they are.
"""

from collections.abc import Mapping
from typing import Any

from exporter.kube.api import ApiError, Object, Resource
from exporter.testing import FakeClock


class World:
    """`away`: the API does not answer. `applies` counts what it took."""

    def __init__(self, clock: FakeClock, nodes: int) -> None:
        self.clock, self.away, self.applies = clock, False, 0
        self.nodes: dict[str, Object] = {
            f"node-{index}": {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": f"node-{index}", "uid": f"uid-{index}"},
            }
            for index in range(nodes)
        }

        self.stands = dict.fromkeys(self.nodes, False)
        """Which have a label, in their order."""

    def labelled(self, name: str) -> bool:
        return self.stands[name]

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        self._answer("get")
        return self.nodes[name]

    async def apply(
        self, resource: Resource, name: str, body: Mapping[str, Any], *, manager: str, **_: Any
    ) -> Object:
        self._answer("apply")
        self.applies += 1
        meta, before = body["metadata"], self.nodes[name]["metadata"]
        if meta["uid"] != before["uid"]:
            raise ApiError("apply", "another node", 422)
        labels = meta.get("labels", {})
        conditions = body.get("status", {}).get("conditions", [])
        fields: Object = {
            "f:metadata": {"f:labels": {f"f:{key}": {} for key in labels}},
            "f:status": {
                "f:conditions": {f'k:{{"type":"{each["type"]}"}}': {} for each in conditions}
            },
        }
        owner = {"manager": manager, "operation": "Apply", "fieldsV1": fields}
        self.nodes[name] = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "uid": before["uid"], "managedFields": [owner]}
            | ({"labels": dict(labels)} if labels else {}),
            "status": {"conditions": list(conditions)},
        }
        self.stands[name] = bool(labels)
        return self.nodes[name]

    def _answer(self, verb: str) -> None:
        if self.away:
            raise ApiError(f"{verb} nodes", "no answer")

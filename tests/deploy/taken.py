"""`python -m tests.deploy.taken`: every object of the chart before a real kube-apiserver, as a dry
run of a server-side apply with unknown fields refused as far as that version does.

Kinds that it does not know (1.20: monitoring.coreos.com, ValidatingAdmissionPolicy) are named.
"""

import json
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from ssl import create_default_context
from typing import Any

import yaml

from tests.cluster.real import running
from tests.deploy.chart import EVERYTHING, rendered

NOT_KNOWN = (
    *("PodMonitor", "PrometheusRule"),
    *("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"),
)
CLUSTER_WIDE = ("ClusterRole", "ClusterRoleBinding")


def path_of(thing: dict[str, Any]) -> str:
    group = thing["apiVersion"]
    plural = thing["kind"].lower() + ("ies" if thing["kind"].endswith("y") else "s")
    plural = plural.replace("yies", "ies")
    within = "" if thing["kind"] in CLUSTER_WIDE else "/namespaces/default"
    base = f"/apis/{group}" if "/" in group else f"/api/{group}"
    return f"{base}{within}/{plural}/{thing['metadata']['name']}"


def main() -> int:
    refused = 0
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as server:
        config = yaml.safe_load(server.kubeconfig.read_text())
        authority = config["clusters"][0]["cluster"]["certificate-authority"]
        token = config["users"][0]["user"]["token"]
        context = create_default_context(cafile=authority)
        for thing in (*rendered(EVERYTHING), *rendered(EVERYTHING, hooks=True)):
            if "namespace" in thing["metadata"]:
                thing["metadata"]["namespace"] = "default"
            if thing["apiVersion"] == "policy/v1":  # 1.21 and newer; of the same fields
                thing["apiVersion"] = "policy/v1beta1"
            name = f"{thing['kind']} {thing['metadata']['name']}"
            if thing["kind"] in NOT_KNOWN:
                print(f"unknown  {name}")
                continue
            request = urllib.request.Request(
                f"{server.url}{path_of(thing)}?dryRun=All&fieldManager=chart&force=true",
                data=json.dumps(thing).encode(),
                method="PATCH",
                headers={
                    "Content-Type": "application/apply-patch+yaml",
                    "Authorization": f"Bearer {token}",
                },
            )
            try:
                with urllib.request.urlopen(request, context=context, timeout=30) as answer:
                    print(f"taken    {name} ({answer.status})")
            except urllib.error.HTTPError as error:
                text = error.read().decode(errors="replace")
                refused += 1
                print(f"REFUSED  {name}: {text}")
    return int(refused > 0)


if __name__ == "__main__":
    sys.exit(main())

"""What an agent that does not ask the Kubernetes API has in memory."""

import subprocess
import sys


def test_an_agent_that_asks_no_api_imports_no_client_of_it() -> None:
    code = (
        "import sys, exporter.app, exporter.cli, exporter.usage.workloads\n"
        "print(*sorted(m for m in sys.modules if m.startswith('exporter.kube')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_seam_itself_needs_no_http_client() -> None:
    code = (
        "import sys, exporter.kube.api, exporter.kube.informer, exporter.kube.client\n"
        "print('httpx' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"

"""`python -m tests.image [--target bcc]`: builds the image by the Dockerfile's steps, without an
engine, and starts it with the mounts, user and capabilities of the chart (root; minutes).

Exit code 1 where the agent in it does not count with all three default programs.
"""

import argparse
import re
import sys
import tempfile
import urllib.request
from pathlib import Path

from tests.deploy.chart import ROOT, rendered
from tests.image.chroot import build
from tests.image.pod import start

CACHE = ROOT / ".cache" / "image"
_URL = re.compile(r"^metrics: (\S+)", re.MULTILINE)
PORT = 19435
COUNTED = (
    "ebpf_exporter_timer_starts_total{",
    "ebpf_exporter_bio_latency_seconds",
    "node_mem_usage_active ",
    "node_disk_usage_active ",
)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", default="runtime")
    target: str = parser.parse_args().target
    with tempfile.TemporaryDirectory(dir=CACHE.parent) as folder:
        place = Path(folder)
        image = build(ROOT, target, CACHE, place)
        size = sum(f.lstat().st_size for f in image.root.rglob("*") if not f.is_symlink())
        print(f"{target}: {size / 1e6:.0f} MB, user {image.user}")
        found = [f for f in ("gcc", "clang", "cc", "pip") if (image.root / "usr/bin" / f).exists()]
        if found:
            print(f"no compiler was to be in it, and there is {', '.join(found)}")
            return 1
        objects = rendered({"agent": {"port": PORT}})
        [daemonset] = [each for each in objects if each["kind"] == "DaemonSet"]
        [config] = [each["data"] for each in objects if each["kind"] == "ConfigMap"]
        process = start(image, daemonset["spec"]["template"]["spec"], config, place / "pod")
        assert process.stdout is not None
        screen = ""
        try:
            for line in process.stdout:
                screen += line
                if url := _URL.search(screen):
                    break
            else:
                print(screen)
                return 1
            with urllib.request.urlopen(url[1], timeout=60) as answer:
                text = answer.read().decode()
            status = Path(f"/proc/{process.pid}/status").read_text()
        finally:
            process.terminate()
            process.wait(60)
        print(screen)
        print("".join(re.findall(r"^(?:Uid|NoNewPrivs|CapEff|CapBnd):.*\n", status, re.MULTILINE)))
        missing = [name for name in COUNTED if f"\n{name}" not in text]
        if missing or "programs: 3 of 3 on" not in screen:
            print(f"not counted: {', '.join(missing)}")
            return 1
        print(f"{sum(not line.startswith('#') for line in text.splitlines())} series")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A container of the chart without a kubelet: mounts, user, capabilities, by unshare and setpriv.

The rule: what it gets is what the rendered pod says and nothing else. Host folders are mounted as
the pod wants them, in a mount namespace of its own; the state folder is an empty one instead.
"""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.image.chroot import Image

Pod = Mapping[str, Any]
_STATE = "state"  # the volume that must not be this machine's


def start(image: Image, pod: Pod, files: Mapping[str, str], place: Path) -> "subprocess.Popen[str]":
    """The pod's only container, its configuration being `files`. `place` is an empty folder."""
    [container] = pod["containers"]
    context = container["securityContext"]
    config = place / "config"
    config.mkdir(parents=True)
    for name, text in files.items():
        (config / name).write_text(text)
    volumes = {each["name"]: each for each in pod["volumes"]}
    lines = ["mount --make-rprivate /", f"mount --bind {image.root} {image.root}", "ROOT=$1"]
    lines.append("mount -t tmpfs -o mode=755 none $ROOT/dev")
    for each in ("null", "zero", "random", "urandom"):
        lines.append(f"touch $ROOT/dev/{each}; mount --bind /dev/{each} $ROOT/dev/{each}")
    lines.append("mount --rbind /proc $ROOT/proc" if pod.get("hostPID") else "false")
    mounts = container["volumeMounts"]
    targets = " ".join(f"$ROOT{each['mountPath']}" for each in mounts)
    lines.append(f"mkdir -p {targets}")
    for each in mounts:
        volume, to = volumes[each["name"]], f"$ROOT{each['mountPath']}"
        if "configMap" in volume:
            lines.append(f"mount --bind {config} {to}")
        elif "hostPath" in volume and each["name"] != _STATE:
            lines.append(f"mount --rbind {volume['hostPath']['path']} {to}")
        else:
            lines.append(f"mount -t tmpfs -o mode=700 none {to}")
        if each.get("readOnly"):
            lines.append(f"mount -o remount,bind,ro {to}")
    if context.get("readOnlyRootFilesystem"):
        lines.append("mount -o remount,bind,ro $ROOT")
    user = context.get("runAsUser", image.user.partition(":")[0])
    group = context.get("runAsGroup", image.user.partition(":")[2])
    added = [name.lower() for name in context["capabilities"].get("add", [])]
    bounds = ",".join(["-all", *(f"+{name}" for name in added)])
    privileges = [f"--reuid={user}", f"--regid={group}", "--clear-groups", "--inh-caps=-all"]
    privileges.append(f"--bounding-set={bounds}")
    if context.get("allowPrivilegeEscalation") is False:
        privileges.append("--no-new-privs")
    words = " ".join(privileges)
    lines.append(f'shift; exec /usr/sbin/chroot $ROOT /usr/bin/setpriv {words} -- "$@"')
    return subprocess.Popen(
        [
            *("unshare", "--mount", "/bin/sh", "-ec", "\n".join(lines), "sh", str(image.root)),
            *(image.command[0], *container["args"]),
        ],
        env={**image.environment, "NODE_NAME": "vm"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

"""Images without an engine: a Dockerfile's steps carried out in folders, by chroot (root, Debian).

The rule: what is to be done stands in the Dockerfile and nowhere here. The base is what debootstrap
makes of the machine's own package sources; it is kept, nothing else is.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.debian import address_of
from tests.image.dockerfile import Stage, argv, ignored, pairs, put_in, stages

# Whom the machine trusts and how it resolves names, as copies: what runs in an image may rewrite
# its own trust (ca-certificates does), and nothing of the machine's is mounted where it could.
_IN_PLACE = """
mount --make-rprivate /
mount -t proc -o ro proc $ROOT/proc
mount -t tmpfs -o mode=755 none $ROOT/dev
for each in null zero full random urandom; do
  touch $ROOT/dev/$each; mount --bind /dev/$each $ROOT/dev/$each
done
mount -t tmpfs -o mode=755 none $ROOT/mnt
if [ -e /etc/resolv.conf ]; then cp -L /etc/resolv.conf $ROOT/mnt/resolv.conf
  touch $ROOT/etc/resolv.conf; mount --bind $ROOT/mnt/resolv.conf $ROOT/etc/resolv.conf; fi
cp -L /etc/ssl/certs/ca-certificates.crt $ROOT/mnt/trusted.crt
exec /usr/sbin/chroot $ROOT /bin/sh -ec "$1"
"""
_TRUSTED = dict.fromkeys(("PIP_CERT", "SSL_CERT_FILE"), "/mnt/trusted.crt")
# Registries' addresses are the machine's own setting; its folders are not to be seen in an image.
PIP = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_DEFAULT_TIMEOUT")
_SCRIPTS = Path("/usr/share/debootstrap/scripts")


class Image(NamedTuple):
    """A root file system, and how it is to be run."""

    root: Path
    command: tuple[str, ...]
    environment: dict[str, str]
    user: str


def base(
    cache: Path, suite: str, packages: Sequence[str] = (), processor: str | None = None
) -> Path:
    """Debian's smallest system, and `packages`, made once (one or two minutes)."""
    root = cache / "-".join(("base", suite, *packages, *([processor] if processor else [])))
    if not (root / ".whole").exists():
        shutil.rmtree(root, ignore_errors=True)
        cache.mkdir(parents=True, exist_ok=True)
        print(f"debootstrap of {root.name}", flush=True)
        options = [f"--include={','.join(packages)}"] if packages else []
        options += [f"--arch={processor}"] if processor else []
        # A suite that is newer than this debootstrap is made as the newest always is.
        script = [] if (_SCRIPTS / suite).exists() else ["sid"]
        address = address_of(suite)
        _run(["debootstrap", "--variant=minbase", *options, suite, str(root), address, *script])
        (root / ".whole").touch()
    return root


def build(
    context: Path, target: str, cache: Path, place: Path, processor: str | None = None
) -> Image:
    """The image of that stage; what it rests on is built before it, below `place`. `processor` is
    Debian's word for one that is not this machine's, and whose programs run here."""
    found = stages((context / "Dockerfile").read_text())
    lines = (context / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    made: dict[str, Image] = {}
    for stage in _needed(found, target):
        if stage.base not in made:
            suite = stage.base.removeprefix("debian:").removesuffix("-slim")
            path = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
            made[stage.base] = Image(base(cache, suite, (), processor), (), path, "0:0")
        made[stage.name] = _build(stage, made, context, patterns, place)
    return made[target]


def _needed(found: dict[str, Stage], target: str) -> list[Stage]:
    """In the order of the file."""
    wanted = {target}
    for stage in reversed(found.values()):
        if stage.name in wanted:
            froms = [s.words.split()[0] for s in stage.steps if s.words.startswith("--from=")]
            wanted |= {stage.base, *(each.removeprefix("--from=") for each in froms)}
    return [stage for stage in found.values() if stage.name in wanted]


def _build(
    stage: Stage,
    made: dict[str, Image],
    context: Path,
    patterns: Sequence[str],
    place: Path,
) -> Image:
    root, below = place / stage.name, made[stage.base]
    _run(["cp", "-a", str(below.root), str(root)])
    entry, command = below.command[:1], below.command[1:]
    environment, user, folder = dict(below.environment), below.user, "/"
    known = dict(environment)
    for verb, words in stage.steps:
        if verb in ("ENV", "ARG"):
            new = pairs(put_in(words, known))
            known |= new
            environment |= new if verb == "ENV" else {}
        elif verb == "WORKDIR":
            folder = words
            (root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif verb == "USER":
            user = words
        elif verb == "ENTRYPOINT":
            entry = tuple(argv(words))
        elif verb == "CMD":
            command = tuple(argv(words))
        elif verb == "COPY":
            _copy(words, made, context, patterns, root, folder)
        elif verb == "RUN":
            print(f"{stage.name}: {words[:90]}", flush=True)
            _within(root, folder, words, known)
    return Image(root, (*entry, *command), environment, user)


def _copy(
    words: str,
    made: dict[str, Image],
    context: Path,
    patterns: Sequence[str],
    root: Path,
    folder: str,
) -> None:
    source, target = words.split()[-2:]
    to = root / str(Path(folder, target)).lstrip("/")
    if words.startswith("--from="):
        other = made[words.split()[0].removeprefix("--from=")].root
        to.parent.mkdir(parents=True, exist_ok=True)
        _run(["cp", "-a", str(other / source.lstrip("/")), str(to)])
        return
    whole = context / source
    for file in [whole] if whole.is_file() else _files(context, patterns):
        name = whole.name if whole.is_file() else str(file.relative_to(context))
        place = to / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, place)


def _files(context: Path, patterns: Sequence[str]) -> list[Path]:
    tops = [each for each in context.iterdir() if not ignored(each.name, patterns)]
    found = [p for top in tops for p in ([top] if top.is_file() else top.rglob("*"))]
    return [p for p in found if p.is_file() and not ignored(str(p.relative_to(context)), patterns)]


def _within(root: Path, folder: str, command: str, environment: dict[str, str]) -> None:
    """As docker's RUN: /bin/sh -c, as root, in the image."""
    env = {key: os.environ[key] for key in PIP if key in os.environ}
    env |= {**environment, **_TRUSTED, "HOME": "/root", "ROOT": str(root)}
    env |= {"DEBIAN_FRONTEND": "noninteractive"}
    within = f"cd {folder}\n{command}"
    _run(["unshare", "--mount", "/bin/sh", "-ec", _IN_PLACE, "sh", within], env)


def _run(command: list[str], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stdout[-3000:]}")

"""The container images, built as their users build them, and containers of it, with what Linux has for both.

The base is Debian from debootstrap instead of an image from a registry. Base and storage are kept from run to run in
`var/cache/image`; removing that directory starts from nothing.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.deployment.processes import CHECKOUT, Running

CACHE = CHECKOUT / "var" / "cache" / "image"
BASE = "localhost/aragora-test-base"
IMAGE = "localhost/aragora-test"
MIRROR = "http://deb.debian.org/debian"
BUILD_SECONDS = 900
USER = 10001


def _run(*command: str, seconds: float = BUILD_SECONDS, **options: Any) -> str:
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL, check=False, **options
    )
    assert ended.returncode == 0, f"{' '.join(command)}\n{ended.stdout[-4000:]}\n{ended.stderr[-4000:]}"
    return ended.stdout


def buildah(*arguments: str) -> str:
    """One command of buildah, without daemon, registry or the machine's own storage."""
    storage = ("--root", str(CACHE / "storage"), "--runroot", str(CACHE / "run"), "--storage-driver", "vfs")
    return _run("buildah", *storage, *arguments)


def _policy() -> Path:
    """buildah asks whose images it may use; ours are made here."""
    policy = CACHE / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    return policy


def base() -> str:
    """The name of the base image, made at the first call on a machine: Debian bookworm with Python."""
    CACHE.mkdir(parents=True, exist_ok=True)
    if BASE in buildah("images", "--format", "{{.Name}}"):
        return BASE
    container = buildah("from", "scratch").strip()
    try:
        root = Path(buildah("mount", container).strip())
        packages = "--include=python3,python3-venv,ca-certificates"
        _run("debootstrap", "--variant=minbase", packages, "bookworm", str(root), MIRROR)
        # What slim images leave out too: every build copies the base.
        for place in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale"):
            shutil.rmtree(root / place)
        buildah("commit", "--signature-policy", str(_policy()), container, BASE)
    finally:
        buildah("rm", container)
    return BASE


def _registry(directory: Path) -> list[str]:
    """The volumes that let pip inside the build reach the packages as this machine's own pip does."""
    lines = _run(sys.executable, "-m", "pip", "config", "list").splitlines()
    settings = {name.rpartition(".")[2]: value.strip("'\"") for name, _, value in (row.partition("=") for row in lines)}
    file = directory / "pip.conf"
    file.write_text("\n".join(["[global]", *(f"{name} = {value}" for name, value in settings.items())]))
    words = [word for value in settings.values() for word in value.split()]
    places = {word for word in words if word.startswith("/")}
    # The pages of an index in files link to the packages beside it.
    places |= {str(Path(word.removeprefix("file://")).parent) for word in words if word.startswith("file:///")}
    mounts = [f"{place}:{place}:ro" for place in sorted(places) if Path(place).exists()]
    return [part for mount in (f"{file}:/etc/pip.conf:ro", *mounts) for part in ("--volume", mount)]


def build(directory: Path, dockerfile: str = "Dockerfile", tag: str = IMAGE, **arguments: str) -> dict[str, Any]:
    """Build an image by a file of `conf/docker`; its configuration, as Docker's format has it."""
    given = [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
    recipe = ("--file", f"conf/docker/{dockerfile}", "--build-arg", f"BASE={base()}", *given, "--tag", tag)
    offline = ("--pull=never", "--network", "host", "--signature-policy", str(_policy()), *_registry(directory))
    buildah("bud", "--isolation", "chroot", "--format", "docker", *offline, *recipe, str(CHECKOUT))
    buildah("rmi", "--prune")
    inspected = json.loads(buildah("inspect", "--type", "image", tag))
    docker: dict[str, Any] = inspected["Docker"]
    return docker


@contextmanager
def mounted(tag: str = IMAGE) -> Iterator[Path]:
    """The image's file system."""
    container = buildah("from", "--pull-never", "--signature-policy", str(_policy()), tag).strip()
    try:
        yield Path(buildah("mount", container).strip())
    finally:
        buildah("rm", container)


# Loopback up (netdevice(7)), in a network of its own, for as long as somebody holds its standard input open.
_NETWORK = """
import fcntl, socket, struct, sys
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
print("up", flush=True)
sys.stdin.read()
"""

_CONTAINER = """
mount --make-rprivate /
mount --bind {root} {root}
mount -t proc proc {root}/proc
mount --rbind /dev {root}/dev
mount -t tmpfs tmpfs {root}/dev/shm
mount -t tmpfs tmpfs {root}/tmp
mount --bind {volume} {root}{home}
{files}
mount -o remount,bind,ro {root}
exec chroot {root} setpriv --reuid={user} --regid={user} --clear-groups --inh-caps=-all --bounding-set=-all \\
    --no-new-privs env --ignore-environment --chdir={home} "$@"
"""


class Pod:
    """Containers of the image that share a network of their own, which nothing outside can reach.

    Each is a process 1 of an unprivileged user, without capabilities, on a root file system it cannot write to.
    """

    def __init__(self, root: Path, config: dict[str, Any], directory: Path) -> None:
        self._root = root
        (self._home,) = config["Volumes"]
        self._environ = dict(pair.split("=", 1) for pair in config["Env"])
        self._volume = directory / "volume"
        self._volume.mkdir()
        os.chown(self._volume, USER, USER)
        self._directory = directory
        self._mounts: dict[str, Path] = {}

    def __enter__(self) -> "Pod":
        self._network = subprocess.Popen(
            ["unshare", "--net", sys.executable, "-c", _NETWORK], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._network.stdout
        assert self._network.stdout.readline() == b"up\n"
        return self

    def __exit__(self, *_: object) -> None:
        self._network.communicate()

    def mount(self, place: str, content: str) -> None:
        """A file of root's that every container started from now on can read at `place`, as its group may."""
        source = self._directory / place.strip("/").replace("/", "-")
        source.write_text(content)
        os.chown(source, 0, USER)
        source.chmod(0o440)
        self._mounts[place] = source

    def command(self, *arguments: str, **environ: str) -> list[str]:
        """The command line that starts a container, in place of `arguments`."""
        places = ((f"{self._root}{place}", source) for place, source in self._mounts.items())
        files = "\n".join(
            f"mkdir -p {Path(place).parent}; touch {place}; mount --bind {source} {place}" for place, source in places
        )
        script = _CONTAINER.format(root=self._root, volume=self._volume, home=self._home, user=USER, files=files)
        variables = [f"{name}={value}" for name, value in (self._environ | environ).items()]
        spaces = ["unshare", "--mount", "--ipc", "--pid", "--fork", "--kill-child=KILL", "sh", "-euc", script, "sh"]
        return ["nsenter", f"--net=/proc/{self._network.pid}/ns/net", *spaces, *variables, *arguments]

    def run(self, *arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        """A container that ends by itself."""
        return _ended(self.command(*arguments, **environ))

    def start(self, *arguments: str, **environ: str) -> Running:
        """A container that serves; for a `with`."""
        return Running(*self.command(*arguments, **environ), log=self._directory / f"{Path(arguments[0]).name}.log")

    def beside(self, *arguments: str, user: str) -> Running:
        """A program of this machine in the pod's network; for a `with`."""
        return Running(*self._inside(user, arguments), log=self._directory / f"{Path(arguments[0]).name}.log")

    def run_beside(self, *arguments: str, user: str) -> "subprocess.CompletedProcess[str]":
        """A program of this machine in the pod's network that ends by itself."""
        return _ended(self._inside(user, arguments))

    def _inside(self, user: str, arguments: tuple[str, ...]) -> list[str]:
        identity = (f"--reuid={user}", f"--regid={user}", "--clear-groups")
        return ["nsenter", f"--net=/proc/{self._network.pid}/ns/net", "setpriv", *identity, "--", *arguments]


def _ended(command: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command, capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL, check=False, cwd="/"
    )


def stop(container: Running) -> int:
    """What `docker stop` does: TERM to the container's process 1; its exit code."""
    outside = container.process.pid
    children = Path(f"/proc/{outside}/task/{outside}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGTERM)
    return container.ended()

"""Services made of podman's containers by their labels: a real daemon, real containers, and visitors all the time."""

import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.ports import ports
from tests.proxy.admin.conftest import TOML, AdminGateway
from tests.proxy.admin.test_deploy_drill import Visitors
from tests.proxy.commands.test_containers import Follower
from tests.waiting import PATIENCE, until

pytestmark = [pytest.mark.component("podman"), pytest.mark.component("compiler"), pytest.mark.long]

PROGRAM = r"""
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
static void end(int number) { (void)number; }
int main(int count, char **words) {
    struct sigaction action = {.sa_handler = end};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(words[1]))};
    char request[65536], response[256];
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1, client;
    sigaction(SIGTERM, &action, NULL);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 64)) return 1;
    snprintf(response, sizeof response, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
             strlen(words[2]), words[2]);
    while ((client = accept(listener, NULL, NULL)) >= 0) {
        if (read(client, request, sizeof request) > 0 && write(client, response, strlen(response)) > 0)
            shutdown(client, SHUT_WR);
        while (read(client, request, sizeof request) > 0);
        close(client);
    }
    return 0;
}
"""
"""Answers every request with the word it is given, and ends after the one it is at."""

CONTAINERS = """
[containers]
cgroups = "disabled"
netns = "host"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
# crun refuses machines with both versions of cgroups, which the daemon does not need here.
WITHOUT_CGROUPS = 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"'


@contextmanager
def podman(folder: Path) -> Iterator[str]:
    """The URL of a daemon with storage of its own, in a mount namespace of its own."""
    (folder / "containers.conf").write_text(CONTAINERS)
    where = [word for name in ("root", "runroot", "tmpdir") for word in (f"--{name}", str(folder / name))]
    command = ["podman", *where, "--storage-driver", "vfs", "system", "service", "--time=0", f"unix://{folder}/socket"]
    with (folder / "podman.log").open("wb") as log:
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", WITHOUT_CGROUPS, "sh", *command],
            env={"PATH": "/usr/bin:/usr/sbin:/bin:/sbin", "CONTAINERS_CONF": str(folder / "containers.conf")},
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: (folder / "socket").exists() or process.poll() is not None, "podman listens")
        if process.poll() is not None:
            pytest.skip(f"podman does not run here: {(folder / 'podman.log').read_text().strip()[-200:]}")
        yield f"unix://{folder}/socket"
    finally:
        process.terminate()
        process.wait(PATIENCE)


class Containers:
    """Containers of one program, each listening on a port of this machine; `close` removes them."""

    def __init__(self, url: str, folder: Path) -> None:
        import docker

        self._client: Any = docker.APIClient(base_url=url, version="auto", timeout=PATIENCE)
        self._started: list[str] = []
        source, program = folder / "program.c", folder / "program"
        source.write_text(PROGRAM)
        subprocess.run(["gcc", "-static", "-O1", "-o", str(program), str(source)], check=True)
        self._archive = folder / "root.tar"
        with tarfile.open(self._archive, "w") as archive:
            archive.add(program, "program")

    def start(self, version: str, port: int) -> str:
        """Run one of an image of its own; its id. Skips where containers cannot run."""
        from docker.errors import APIError

        changes = ['ENTRYPOINT ["/program"]', f"ENV VERSION={version}"]
        self._client.import_image_from_file(str(self._archive), f"app-{version}", changes=changes)
        made = self._client.create_container(
            f"app-{version}",
            [str(port), version],
            name=f"app-{version}",
            labels={"aragora.service": "app", "aragora.port": str(port)},
            host_config=self._client.create_host_config(network_mode="host"),
        )["Id"]
        self._started.append(made)
        try:
            self._client.start(made)
        except APIError as problem:
            pytest.skip(f"podman runs no containers here: {problem.explanation}")
        return str(made)

    def stop(self, container: str) -> None:
        self._client.stop(container, timeout=int(PATIENCE))

    def kill(self, container: str) -> None:
        self._client.kill(container)

    def close(self) -> None:
        from docker.errors import APIError

        for container in self._started:
            with suppress(APIError):
                self._client.remove_container(container, force=True)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short name: podman takes 50 characters."""
    with tempfile.TemporaryDirectory(prefix="podman-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def test_a_container_replaces_another_and_no_request_is_lost(folder: Path) -> None:
    one, two = ports(2)
    (folder / "gateway").mkdir()
    with podman(folder) as url:
        containers = Containers(url, folder)
        gateway = AdminGateway(folder / "gateway", TOML)
        follower = None
        try:
            first = containers.start("v1", one)
            gateway.up()
            follower = Follower(folder / "socket", gateway, folder)
            until(lambda: gateway.get() == (200, "v1"), "the first serves")
            visitors = Visitors(gateway)
            with visitors.visiting():
                second = containers.start("v2", two)
                until(lambda: gateway.names() == {"v2"}, "the second has taken over")
                containers.stop(first)
                follower.says("127.0.0.1:" + str(one) + " gets no new requests")
                assert gateway.names() == {"v2"}
            assert visitors.wrong == []
            assert set(visitors.seen) == {"v1", "v2"}
            containers.kill(second)
            until(lambda: not gateway.status()["services"], "the service is removed")
        finally:
            if follower is not None:
                follower.end()
            gateway.close()
            containers.close()

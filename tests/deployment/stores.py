"""PostgreSQL and Redis in a pod's network: this machine's own programs in the place of images no registry hands out."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import program
from tests.deployment.image import Pod
from tests.waiting import until


@contextmanager
def stores(pod: Pod, services: dict[str, Any], password: str) -> Iterator[None]:
    """Both as the composition's services describe them: names, arguments, health checks."""
    # PostgreSQL refuses root; its user must be able to enter each directory on the way.
    directory = Path(tempfile.mkdtemp(prefix="stores-", dir="/tmp"))
    shutil.chown(directory, "postgres", "postgres")
    try:
        with _postgresql(pod, services["postgres"], password, directory), _redis(pod, services["redis"], directory):
            yield
    finally:
        shutil.rmtree(directory)


@contextmanager
def _postgresql(pod: Pod, service: dict[str, Any], password: str, directory: Path) -> Iterator[None]:
    owner = service["environment"]["POSTGRES_USER"]
    secret = directory / "password"
    secret.write_text(password)
    shutil.chown(secret, "postgres", "postgres")
    cluster = str(directory / "cluster")
    access = ("--auth=scram-sha-256", f"--username={owner}", f"--pwfile={secret}", "--no-sync", "--encoding=UTF8")
    made = pod.run_beside(program("initdb") or "initdb", f"--pgdata={cluster}", *access, user="postgres")
    assert made.returncode == 0, made.stderr
    command = (program("postgres") or "postgres", "-D", cluster, "-k", str(directory), "-c", "fsync=off")
    with pod.beside(*command, user="postgres"):
        check, *options = service["healthcheck"]["test"][1:]
        asked = (program(check) or check, *options, "--host=127.0.0.1")
        until(lambda: pod.run_beside(*asked, user="postgres").returncode == 0, "health of PostgreSQL")
        # the image makes the database that its environment names
        database = service["environment"]["POSTGRES_DB"]
        create = (program("createdb") or "createdb", "--host=127.0.0.1", f"--username={owner}", database)
        done = pod.run_beside("env", f"PGPASSWORD={password}", *create, user="postgres")
        assert done.returncode == 0, done.stderr
        yield


@contextmanager
def _redis(pod: Pod, service: dict[str, Any], directory: Path) -> Iterator[None]:
    with pod.beside(*service["command"], "--dir", str(directory), user="postgres"):
        check = service["healthcheck"]["test"][1:]
        until(lambda: "PONG" in pod.run_beside(*check, user="postgres").stdout, "health of Redis")
        yield

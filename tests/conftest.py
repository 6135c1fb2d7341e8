"""What every test may rely on: the markers `component` and `alone`, and property tests with the same cases each time.

A test that needs a real program beside Python says so: `@pytest.mark.component("nginx")`. Where the program
is missing the test is skipped, and the summary names what to install; with ARAGORA_REQUIRE_COMPONENTS=1, as
CI sets it, the same absence is a failure, so that a green run there has really run everything.
"""

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from proxy.form import form
from setup import missing_compiler
from tests.turns import turn

# The same cases in every run: a red suite means a change, not a lucky draw. HYPOTHESIS_PROFILE=search looks for more.
hypothesis.settings.register_profile("suite", derandomize=True, deadline=None)
hypothesis.settings.register_profile("search", max_examples=20_000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))

ROOT = Path(__file__).parents[1]

# Debian keeps PostgreSQL's server programs off PATH and daemons in directories a user's PATH may lack.
POSTGRESQL_DIRECTORIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
EXTRA_DIRECTORIES = ["/usr/sbin", "/usr/local/sbin", *map(str, POSTGRESQL_DIRECTORIES)]


def program(name: str) -> str | None:
    """The path of an installed program, or None."""
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(EXTRA_DIRECTORIES))


def programs(*names: str) -> Callable[[], str]:
    """A check that answers the first missing one of several programs, or nothing."""
    return lambda: next((name for name in names if program(name) is None), "")


def modules(*names: str) -> Callable[[], str]:
    """A check that answers the first Python module that cannot be imported, or nothing."""
    return lambda: next((name for name in names if importlib.util.find_spec(name) is None), "")


def namespaces() -> str:
    """A check that answers what keeps this process from starting a second Linux machine inside this one, or nothing."""
    found = programs("unshare", "nsenter", "pivot_root", "ip", "ss", "pgrep", "systemctl")()
    if found:
        return found
    trial = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup", "--fork", "true"]
    return "" if subprocess.run(trial, capture_output=True, check=False).returncode == 0 else "the right to unshare"


CACHE = Path(os.environ.get("ARAGORA_TEST_COMPONENTS") or Path.home() / ".cache/aragora")


def built(name: str) -> Callable[[], str]:
    """A check that answers where one of our scripts has not built a component yet, or nothing."""
    return lambda: "" if (CACHE / name / "built").exists() else str(CACHE / name)


# name in the marker -> what to install, and how its absence is seen
COMPONENTS: dict[str, tuple[str, Callable[[], str]]] = {
    "nginx": ("apt-get install nginx-light", programs("nginx")),
    "haproxy": ("apt-get install haproxy", programs("haproxy")),
    "caddy": ("apt-get install caddy", programs("caddy")),
    "pebble": ("apt-get install pebble", programs("pebble")),
    "lighttpd": ("apt-get install lighttpd", programs("lighttpd")),
    "redis": ("apt-get install redis-server", programs("redis-server")),
    "postgresql": ("apt-get install postgresql", programs("initdb", "postgres")),
    "chromium": ("apt-get install chromium chromium-driver", programs("chromium", "chromedriver")),
    "zsh": ("apt-get install zsh", programs("zsh")),
    "fish": ("apt-get install fish", programs("fish")),
    "groff": ("apt-get install groff-base", programs("groff")),
    "curl": ("apt-get install curl", programs("curl")),
    "git": ("apt-get install git", programs("git")),
    "age": ("apt-get install age", programs("age", "age-keygen")),
    "prometheus": ("apt-get install prometheus", programs("prometheus", "promtool")),
    "pgbouncer": ("apt-get install pgbouncer", programs("pgbouncer")),
    "openssl": ("apt-get install openssl", programs("openssl")),
    "compiler": ("apt-get install gcc libc6-dev python3-dev", missing_compiler),
    "wrk": ("apt-get install wrk", programs("wrk")),
    "h2load": ("apt-get install nghttp2-client", programs("h2load")),
    "buildah": ("apt-get install buildah", programs("buildah")),
    "debootstrap": ("apt-get install debootstrap", programs("debootstrap")),
    "docker": ("the docker client of download.docker.com/linux/static", programs("docker")),
    "kubectl": ("apt-get install kubernetes-client", programs("kubectl")),
    "podman": ("apt-get install podman crun", programs("podman", "crun", "unshare")),
    "docker-compose": ("apt-get install docker-compose", programs("docker-compose")),
    "logrotate": ("apt-get install logrotate", programs("logrotate")),
    "systemd": ("apt-get install systemd python3-venv", programs("systemd-analyze", "systemd-tmpfiles", "systemctl")),
    "machine": ("apt-get install systemd util-linux iproute2 procps", namespaces),
    "streamlit": ("pip install streamlit", modules("streamlit")),
    "grpc": ("pip install grpcio grpcio-health-checking", modules("grpc", "grpc_health")),
    "hypercorn": ("pip install hypercorn", modules("hypercorn")),
    "mkdocs": ("scripts/venv dev", modules("mkdocs", "material")),
    "uvicorn": ("pip install -e .[asgi]", modules("uvicorn", "uvicorn_worker", "websockets", "a2wsgi")),
    "applications": ("scripts/test-components applications", built("applications")),
    "litellm": ("scripts/test-components litellm", built("litellm")),
    "prism": ("scripts/test-components prism", built("prism")),
    "pages": ("scripts/test-components pages", built("pages")),
    "real-model": ("scripts/real-model", built("real-model")),
}
# Those take gigabytes or many minutes to build: where they are missing nobody is told to have them, not even CI.
OPTIONAL = {
    "applications",
    "docker",
    "grpc",
    "hypercorn",
    "kubectl",
    "litellm",
    "pages",
    "podman",
    "prism",
    "real-model",
    "streamlit",
}


def absence(name: str) -> str | None:
    """Why the component `name` cannot be used here, with the remedy; None when it can."""
    remedy, missing = COMPONENTS[name]
    found = missing()
    return f"component {name} is missing ({found} not found): {remedy}" if found else None


MEASURED = tuple(
    ROOT / "tests" / folder
    for folder in (
        *(f"proxy/{room}" for room in ("downstream", "exchange", "filters", "limits", "net", "observe", "settings")),
        *("proxy/upstream", "proxy/wire"),
        *(f"aragora/{room}" for room in ("agents", "debate", "documents", "evaluation", "outbound", "service")),
        "aragora/settings",
    )
)
"""The folders whose tests run in the test's own process, mostly: measuring whole servers would double the run."""


def measured(item: pytest.Item) -> bool:
    """Whether scripts/coverage runs this test."""
    inside = any(item.path.is_relative_to(folder) for folder in MEASURED)
    return inside and not item.get_closest_marker("drill") and not item.get_closest_marker("alone")


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses by markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is measured, skip what takes long, and stop at a misspelt component: it would skip its test unseen."""
    for item in items:
        if item.get_closest_marker("long") and os.environ.get("ARAGORA_LONG") != "1":
            item.add_marker(pytest.mark.skip(reason="takes long, and has a job of its own in CI: ARAGORA_LONG=1"))
        if measured(item):
            item.add_marker(pytest.mark.measured)
        for marker in item.iter_markers("component"):
            for name in marker.args:
                if name not in COMPONENTS:
                    known = ", ".join(sorted(COMPONENTS))
                    raise pytest.UsageError(f"{item.nodeid}: unknown component {name!r}; known: {known}")


@pytest.fixture(scope="session", autouse=True)
def _runtime_directory() -> Iterator[None]:
    """Where gateways under test take commands: among themselves, not where those of this machine do."""
    before = os.environ.get("RUNTIME_DIRECTORY")
    with tempfile.TemporaryDirectory(prefix="gw-") as directory:  # short: a socket's path has 107 bytes
        os.environ["RUNTIME_DIRECTORY"] = directory
        yield
    if before is None:
        del os.environ["RUNTIME_DIRECTORY"]
    else:
        os.environ["RUNTIME_DIRECTORY"] = before


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let tests marked `alone` have the machine to themselves when several processes run the suite."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    shared = Path(item.config.option.basetemp).parent
    with turn(shared, alone=item.get_closest_marker("alone") is not None):
        return (yield)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs the pure form, and what lacks a component, unless components are required: then that fails."""
    for marker in item.iter_markers("pure"):
        if form() == "compiled":
            pytest.skip(f"the gateway is compiled: {marker.args[0]}")
    for marker in item.iter_markers("component"):
        for name in marker.args:
            reason = absence(name)
            if reason is None:
                continue
            if os.environ.get("ARAGORA_REQUIRE_COMPONENTS") == "1" and name not in OPTIONAL:
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)

"""What is driven: the application behind our gateway, behind nginx, behind Caddy; or whatever answers at a URL.

Each front has an application of its own, so that costs and memory are one deployment's. All run their shipped files,
with ports and paths exchanged; Caddy, for which none is shipped, does the same work by the lines below.
"""

import http.client
import os
import shutil
import ssl
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmark.measure import BenchError
from benchmark.peers import Pair, make_pair
from benchmark.process import Server, free_port, last_words, start

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 60.0
GATEWAY = "gateway"
PACKAGES = {"nginx": "nginx-light", "caddy": "caddy"}

NGINX = """{user}
daemon off; worker_processes auto; worker_rlimit_nofile 20000; pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log warn;
events {{ worker_connections 8192; }}
http {{
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    include {folder}/aragora.conf;
}}
"""

CADDY = """{{
    admin off
    auto_https off
}}
https://127.0.0.1:{port} {{
    bind 127.0.0.1
    tls {cert} {key}
    header Strict-Transport-Security "max-age=31536000"
    log {{
        output file {folder}/caddy-access.log {{
            roll_disabled
        }}
    }}
    request_body {{
        max_size 50MB
    }}
    respond /metrics* 404
    reverse_proxy /ws 127.0.0.1:{ws}
    reverse_proxy 127.0.0.1:{api} {{
        header_up X-Real-IP {{remote_host}}
        header_up X-Request-ID {{http.request.uuid}}
        transport http {{
            keepalive 4s
        }}
    }}
}}
"""


@dataclass(frozen=True)
class Site:
    """One deployment: where it answers, which authorities to trust there, and its processes where they are ours."""

    name: str
    base: str
    context: ssl.SSLContext
    agents: tuple[str, ...]
    token: str = ""
    front: Server | None = None
    application: Server | None = None

    @property
    def spread(self) -> bool:
        """Whether every client may have an address of its own: on loopback, all of 127.0.0.0/8 is ours."""
        return "://127." in self.base and sys.platform.startswith("linux")


def exchanged(file: Path, changes: Mapping[str, str]) -> str:
    """A shipped file with every change made. BenchError when one does not apply: the file has become another."""
    text = file.read_text()
    for old, new in changes.items():
        if old not in text:
            raise BenchError(f"{file}: there is no {old!r} to exchange")
        text = text.replace(old, new)
    return text


def application(folder: Path, api: int, ws: int, provider: str, workers: int) -> Server:
    """The application by its shipped file; its workers are not replaced, or their cost could not be counted."""
    environ = {
        "ARAGORA_BIND": f"127.0.0.1:{api}",
        "ARAGORA_WS_BIND": f"127.0.0.1:{ws}",
        "ARAGORA_DATA_DIR": str(folder / "data"),
        "ARAGORA_ACCESS_LOG": str(folder / "application-access.log"),
        "ARAGORA_WORKERS": str(workers),
        "ARAGORA_MAX_REQUESTS": "0",
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": provider,
    }
    command = [str(Path(sys.executable).with_name("gunicorn")), "-c", str(ROOT / "conf" / "gunicorn.conf.py")]
    return start("application", api, command, folder=folder, core=None, environ=environ)


def gateway(folder: Path, port: int, api: int, ws: int, pair: Pair) -> Server:
    """Our gateway by conf/proxy.toml."""
    changes = {
        '"[::]:443"': f'"127.0.0.1:{port}"',
        '"[::]:80"': f'"127.0.0.1:{free_port()}"',
        "127.0.0.1:9180": f"127.0.0.1:{free_port()}",
        "127.0.0.1:8080": f"127.0.0.1:{api}",
        "127.0.0.1:8766": f"127.0.0.1:{ws}",
        "/etc/ssl/certs/aragora.crt": str(pair.cert),
        "/etc/ssl/private/aragora.key": str(pair.key),
    }
    file = folder / "proxy.toml"
    file.write_text(exchanged(ROOT / "conf" / "proxy.toml", changes))
    command = [sys.executable, "-m", "proxy", "--config", str(file), "--access-log", str(folder / "gateway.log")]
    return start(GATEWAY, port, command, folder=folder, core=None, environ={"PYTHONPATH": str(ROOT)})


def nginx(folder: Path, port: int, api: int, ws: int, pair: Pair) -> Server:
    """nginx by conf/nginx/aragora.conf, within a main file like Debian's."""
    changes = {
        "server 127.0.0.1:8080;": f"server 127.0.0.1:{api};",
        "server 127.0.0.1:8766;": f"server 127.0.0.1:{ws};",
        "listen 80;": f"listen 127.0.0.1:{free_port()};",
        "listen 443 ssl http2;": f"listen 127.0.0.1:{port} ssl http2;",
        "/etc/ssl/certs/aragora.crt": str(pair.cert),
        "/etc/ssl/private/aragora.key": str(pair.key),
        "/var/log/nginx/aragora.log": str(folder / "nginx-access.log"),
    }
    (folder / "aragora.conf").write_text(exchanged(ROOT / "conf" / "nginx" / "aragora.conf", changes))
    user = "user root;" if os.geteuid() == 0 else ""  # whose workers may use the temporary directory
    file = folder / "nginx.conf"
    file.write_text(NGINX.format(user=user, folder=folder))
    return start("nginx", port, ["nginx", "-p", str(folder), "-c", str(file)], folder=folder, core=None)


def caddy(folder: Path, port: int, api: int, ws: int, pair: Pair) -> Server:
    """Caddy, doing what the other two do, but for limits of a client's requests, which it has none of."""
    file = folder / "Caddyfile"
    file.write_text(CADDY.format(folder=folder, port=port, api=api, ws=ws, cert=pair.cert, key=pair.key))
    command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(file)]
    environ = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    return start("caddy", port, command, folder=folder, core=None, environ=environ)


FRONTS: dict[str, Callable[[Path, int, int, int, Pair], Server]] = {GATEWAY: gateway, "nginx": nginx, "caddy": caddy}


def installed() -> list[str]:
    """Our gateway, and every other front whose program is found."""
    return [name for name in FRONTS if name == GATEWAY or shutil.which(name)]


@contextmanager
def deployed(fronts: Sequence[str], folder: Path, provider: str, workers: int) -> Iterator[list[Site]]:
    """One deployment for each front, ready for requests; ended afterwards. BenchError for one that does not start."""
    pair = make_pair(folder)
    context = ssl.create_default_context(cafile=pair.cert)
    sites = []
    with ExitStack() as running:
        for name in fronts:
            if name not in installed():
                raise BenchError(f"{name} is not installed (Debian: {PACKAGES[name]})")
            home = folder / name
            home.mkdir()
            port, api, ws = free_port(), free_port(), free_port()
            behind = application(home, api, ws, provider, workers)
            running.callback(behind.stop)
            front = FRONTS[name](home, port, api, ws, pair)
            running.callback(front.stop)
            agents = ("openai", "openai")
            sites.append(Site(name, f"https://127.0.0.1:{port}", context, agents, "", front, behind))
        for site in sites:
            await_ready(site)
        yield sites


def await_ready(site: Site) -> None:
    """Return when a request would succeed. BenchError with the server's last words when none ever will."""
    direct = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=site.context)
    )
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            with direct.open(f"{site.base}/ready", timeout=READY_SECONDS):
                return
        except (OSError, http.client.HTTPException) as error:
            starting = site.application is not None and site.application.process.poll() is None
            if not starting or time.monotonic() > deadline:
                said = last_words(site.application.output) if site.application else str(error)
                raise BenchError(f"{site.name}: {site.base}/ready is not answered with 200: {said}") from error
            time.sleep(0.05)

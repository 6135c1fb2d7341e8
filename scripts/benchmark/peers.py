"""The gateway and its peers, configured to do the same work: keep-alive pools, forwarding fields, log, body limit."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmark.measure import BenchError
from benchmark.process import Server, free_port, start

ROOT = Path(__file__).resolve().parents[2]
GATEWAY = "proxy"
BARE = "bare"
"""Measured only when it is asked for: no peer that anybody would deploy, but what no proxy of this kind gets below."""
BODY_LIMIT = 50 * 1024 * 1024
POOL = 4096
"""Idle upstream connections that every proxy may keep: enough for the busiest scenario to close none."""

DEPLOYED_POOLS = {GATEWAY: 4096, "nginx": 32, "haproxy": -1, "caddy": 32, BARE: 0}
"""Those that they keep as they are deployed: by default, and nginx, which by default keeps none, as
`conf/nginx/aragora.conf` and most configurations have it."""

NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log crit;
worker_rlimit_nofile 20000;
events {{ worker_connections 16000; }}
http {{
  access_log {folder}/nginx-access.log combined;
  client_max_body_size {limit};
  client_body_temp_path {folder}/nginx-body; proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/nginx-f; uwsgi_temp_path {folder}/nginx-u; scgi_temp_path {folder}/nginx-s;
  keepalive_requests 100000000; keepalive_timeout 75s;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  upstream origin {{ server 127.0.0.1:{upstream}; keepalive {pool}; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port}{tls} backlog=4096;
    {certificate}
    location / {{
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Host $host:$server_port;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $host;
      proxy_set_header X-Forwarded-Port $server_port;
      proxy_set_header X-Request-ID $request_id;
      proxy_connect_timeout 60s; proxy_send_timeout 300s; proxy_read_timeout 300s;
    }}
  }}
}}
"""

HAPROXY = """
global
  nbthread 1
  maxconn 9000
  log stdout format raw local0 info
defaults
  mode http
  log global
  option httplog
  timeout connect 60s
  timeout client 75s
  timeout server 300s
  timeout tunnel 1h
frontend front
  bind 127.0.0.1:{port} backlog 4096{tls}
  http-request deny deny_status 413 if {{ req.hdr_val(content-length) gt {limit} }}
  option forwardfor
  http-request set-header X-Real-IP %[src]
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Forwarded-Port %[dst_port]
  http-request set-header X-Request-ID %[uuid()]
  default_backend origin
backend origin
  server one 127.0.0.1:{upstream} pool-max-conn {pool}
"""

CADDY = """
{{
  admin off
  auto_https off
}}
{tls}://127.0.0.1:{port} {{
  bind 127.0.0.1
  {certificate}
  log {{
    output file {folder}/caddy-access.log {{
      roll_disabled
    }}
  }}
  request_body {{
    max_size {limit}
  }}
  reverse_proxy 127.0.0.1:{upstream} {{
    header_up X-Real-IP {{remote_host}}
    header_up X-Forwarded-Port {port}
    header_up X-Request-ID {{http.request.uuid}}
    transport http {{
      keepalive_idle_conns_per_host {pool}
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, PEM; `both` in one file."""

    cert: Path
    key: Path
    both: Path


def make_pair(folder: Path) -> Pair:
    """A self-signed one for 127.0.0.1, of the kind that most sites have now (ECDSA, P-256)."""
    pair = Pair(folder / "tls.crt", folder / "tls.key", folder / "tls.pem")
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
        "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
        "-keyout", str(pair.key), "-out", str(pair.cert),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"openssl: {done.stderr.strip()}")
    pair.both.write_text(pair.cert.read_text() + pair.key.read_text())
    return pair


def write(template: str, path: Path, port: int, upstream: int, pool: int, tls: str = "", certificate: str = "") -> Path:
    """Fill in one configuration file."""
    path.write_text(
        template.format(
            port=port, upstream=upstream, folder=path.parent, limit=BODY_LIMIT, pool=pool, tls=tls,
            certificate=certificate,
        )
    )  # fmt: skip
    return path


def gateway(upstream: int, folder: Path, core: int, pool: int, pair: Pair | None, rate: str = "off") -> Server:
    """This proxy, one worker, with everything on that a user would have on."""
    port = free_port()
    command = [
        sys.executable, "-m", "proxy", "--upstream", f"127.0.0.1:{upstream}", "--bind", f"127.0.0.1:{port}",
        "--workers", "1", "--access-log", str(folder / "proxy-access.log"), "--admin", "off",
        "--pool-size", str(pool), "--rate", rate,
    ]  # fmt: skip
    if pair is not None:
        command += ["--tls-cert", str(pair.cert), "--tls-key", str(pair.key)]
    return start(GATEWAY, port, command, folder=folder, core=core, environ={"PYTHONPATH": str(ROOT)})


def nginx(upstream: int, folder: Path, core: int, pool: int, pair: Pair | None) -> Server:
    """nginx with one worker and its default buffers."""
    port = free_port()
    # Versions of nginx before 1.23.4 speak TLS 1.2 at most unless told so, whose handshakes are cheaper: 1.3 makes new
    # keys for a resumed session too. All peers are to do the same work.
    secure = (
        f"ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {pair.cert}; ssl_certificate_key {pair.key};"
        if pair is not None
        else ""
    )
    config = write(NGINX, folder / "nginx.conf", port, upstream, pool, " ssl http2" if pair is not None else "", secure)
    return start("nginx", port, ["nginx", "-c", str(config), "-p", str(folder)], folder=folder, core=core)


def haproxy(upstream: int, folder: Path, core: int, pool: int, pair: Pair | None) -> Server:
    """HAProxy with one thread; its log lines go to a file through its standard output."""
    port = free_port()
    secure = f" ssl crt {pair.both} alpn h2,http/1.1" if pair is not None else ""
    config = write(HAPROXY, folder / "haproxy.cfg", port, upstream, pool, secure)
    return start("haproxy", port, ["haproxy", "-db", "-f", str(config)], folder=folder, core=core)


def caddy(upstream: int, folder: Path, core: int, pool: int, pair: Pair | None) -> Server:
    """Caddy on one processor."""
    port = free_port()
    scheme, secure = ("https", f"tls {pair.cert} {pair.key}") if pair is not None else ("http", "")
    config = write(CADDY, folder / "Caddyfile", port, upstream, pool, scheme, secure)
    command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(config)]
    environ = {"GOMAXPROCS": "1", "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    return start("caddy", port, command, folder=folder, core=core, environ=environ)


def bare(upstream: int, folder: Path, core: int, _pool: int, pair: Pair | None) -> Server:
    """The gateway's event loop with nothing but receiving and sending."""
    if pair is not None:
        raise BenchError("speaks no TLS")
    port = free_port()
    command = [sys.executable, str(Path(__file__).with_name("bare.py")), str(port), str(upstream)]
    return start(BARE, port, command, folder=folder, core=core)


PEERS: dict[str, Callable[[int, Path, int, int, Pair | None], Server]] = {
    GATEWAY: gateway,
    "nginx": nginx,
    "haproxy": haproxy,
    "caddy": caddy,
    BARE: bare,
}


def installed() -> list[str]:
    """The gateway, and every peer whose program is found."""
    return [name for name in PEERS if name == GATEWAY or (name != BARE and shutil.which(name))]

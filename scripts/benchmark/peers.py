"""The gateway and its peers, configured to do the same work: keep-alive pools, forwarding fields, log, body limit."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmark import current
from benchmark.measure import BenchError
from benchmark.process import Server, free_port, start
from benchmark.scenarios import BARE, COMPILED, PURE, RELAY

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / "build" / "compiled"
"""Where `scripts/compile` puts the compiled form."""
BODY_LIMIT = 50 * 1024 * 1024
USUAL_POOLS = {"nginx": 32, "haproxy": -1, "caddy": 32, "envoy": 1024}
"""Those that they keep as they are deployed: by default, and nginx, which by default keeps none, as
`conf/nginx/aragora.conf` and most configurations have it; Envoy bounds connections, not idle ones."""

NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log crit;
worker_rlimit_nofile 20000;
events {{ worker_connections 16000; }}
http {{
  access_log {folder}/access.log combined;
  client_max_body_size {limit};
  client_body_temp_path {folder}/nginx-body; proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/nginx-f; uwsgi_temp_path {folder}/nginx-u; scgi_temp_path {folder}/nginx-s;
  keepalive_requests 100000000; keepalive_timeout 75s;
  {storing}
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

STORING = {
    "nginx": (
        "proxy_cache_path {folder}/nginx-cache levels=1:2 keys_zone=all:10m max_size=1g; proxy_cache all;"
        " proxy_cache_valid 200 10m;"
    ),
    "haproxy": (
        "  http-request cache-use all\n  http-response cache-store all\n"
        "cache all\n  total-max-size 64\n  max-object-size 1000000\n  max-age 600"
    ),
}
"""What makes each peer store responses; HAProxy does so in memory, nginx in files."""

HAPROXY = """
global
  nbthread 1
  maxconn 12000
  no strict-limits
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
{storing}
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
    output file {folder}/access.log {{
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


ENVOY = """
static_resources:
  listeners:
  - name: front
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    tcp_backlog_size: 4096
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          use_remote_address: true
          upgrade_configs: [ {{ upgrade_type: websocket }} ]
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: {folder}/access.log
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              request_headers_to_add:
              - header: {{ key: X-Real-IP, value: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%" }}
              - header: {{ key: X-Forwarded-Host, value: "%REQ(:AUTHORITY)%" }}
              - header: {{ key: X-Forwarded-Port, value: "{port}" }}
              routes:
              - match: {{ prefix: / }}
                route: {{ cluster: origin, timeout: 300s }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
              suppress_envoy_headers: true
{tls}
  clusters:
  - name: origin
    connect_timeout: 60s
    circuit_breakers:
      thresholds: [ {{ max_connections: 20000, max_pending_requests: 20000, max_requests: 20000 }} ]
    load_assignment:
      cluster_name: origin
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {upstream} }} }} }}
"""
ENVOY_TLS = """      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_certificates:
            - certificate_chain: {{ filename: {cert} }}
              private_key: {{ filename: {key} }}
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


@dataclass(frozen=True)
class Place:
    """Where a peer runs: before which port, with files of its own in which folder, on which core, with how many idle
    upstream connections at most (None: as it is deployed), with TLS if there is a certificate, and perhaps a cache."""

    upstream: int
    folder: Path
    core: int
    pool: int | None
    pair: Pair | None
    cached: bool = False


def pool_of(place: Place, kind: str) -> int:
    """The pool of a peer of this kind."""
    return USUAL_POOLS[kind] if place.pool is None else place.pool


def write(template: str, place: Place, port: int, kind: str, tls: str = "", certificate: str = "") -> Path:
    """The configuration of a peer of this kind, filled in."""
    path = place.folder / f"{kind}.{'yaml' if kind == 'envoy' else 'conf'}"  # which Envoy tells by the ending
    storing = STORING[kind].format(folder=place.folder) if place.cached else ""
    path.write_text(
        template.format(
            port=port, upstream=place.upstream, folder=place.folder, limit=BODY_LIMIT, pool=pool_of(place, kind),
            tls=tls, certificate=certificate, storing=storing,
        )
    )  # fmt: skip
    return path


def gateway(place: Place, name: str, path: str, rate: str) -> Server:
    """This proxy, one worker, with everything on that a user would have on. `path` is where Python finds it."""
    port = free_port()
    command = [
        sys.executable, "-P", "-m", "proxy", "--upstream", f"127.0.0.1:{place.upstream}", "--bind", f"127.0.0.1:{port}",
        "--workers", "1", "--access-log", str(place.folder / "access.log"), "--admin", "off", "--rate", rate,
    ]  # fmt: skip
    if place.pool is not None:
        command += ["--pool-size", str(place.pool)]
    if place.cached:
        command += ["--cache", "on", "--cache-ttl", "10m", "--cache-dir", str(place.folder / "cache")]
    if place.pair is not None:
        command += ["--tls-cert", str(place.pair.cert), "--tls-key", str(place.pair.key)]
    return start(name, port, command, folder=place.folder, core=place.core, environ={"PYTHONPATH": path})


def nginx(place: Place, name: str, program: str, secure: str, certificate: str = "") -> Server:
    """nginx with one worker and its default buffers. `secure` and `certificate`: how it is told to speak HTTP/2.

    Versions before 1.23.4 speak TLS 1.2 at most unless told so, whose handshakes are cheaper: 1.3 makes new keys for a
    resumed session too. All peers are to do the same work.
    """
    port, tls, pair = free_port(), "", place.pair
    if pair is not None:
        tls = secure
        certificate += f"ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {pair.cert}; ssl_certificate_key {pair.key};"
    config = write(NGINX, place, port, "nginx", tls, certificate if pair is not None else "")
    command = [program, "-c", str(config), "-p", str(place.folder)]
    return start(name, port, command, folder=place.folder, core=place.core)


def haproxy(place: Place, name: str, program: str) -> Server:
    """HAProxy with one thread; its log lines go to a file through its standard output."""
    port = free_port()
    secure = f" ssl crt {place.pair.both} alpn h2,http/1.1" if place.pair is not None else ""
    config = write(HAPROXY, place, port, "haproxy", secure)
    command = [program, "-db", "-f", str(config)]
    return start(name, port, command, folder=place.folder, core=place.core)


def caddy(place: Place, name: str, program: str) -> Server:
    """Caddy on one processor."""
    port, pair, folder = free_port(), place.pair, str(place.folder)
    scheme, secure = ("https", f"tls {pair.cert} {pair.key}") if pair is not None else ("http", "")
    config = write(CADDY, place, port, "caddy", scheme, secure)
    command = [program, "run", "--adapter", "caddyfile", "--config", str(config)]
    environ = {"GOMAXPROCS": "1", "HOME": folder, "XDG_DATA_HOME": folder, "XDG_CONFIG_HOME": folder}
    return start(name, port, command, folder=place.folder, core=place.core, environ=environ)


def envoy(place: Place, name: str, program: str) -> Server:
    """Envoy with one worker thread."""
    port, pair = free_port(), place.pair
    config = write(ENVOY, place, port, "envoy", ENVOY_TLS.format(cert=pair.cert, key=pair.key) if pair else "")
    command = [program, "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
    return start(name, port, command, folder=place.folder, core=place.core)


def bare(place: Place, name: str) -> Server:
    """The gateway's event loop with nothing but receiving and sending."""
    if place.pair is not None:
        raise BenchError("speaks no TLS")
    port = free_port()
    command = [sys.executable, str(Path(__file__).with_name("bare.py")), str(port), str(place.upstream)]
    return start(name, port, command, folder=place.folder, core=place.core)


def relay(place: Place, name: str) -> Server:
    """The same in C, which moves long bodies by splice. BenchError without a compiler."""
    if place.pair is not None:
        raise BenchError("speaks no TLS")
    compiler = shutil.which("cc")
    if compiler is None:
        raise BenchError("needs a C compiler: apt-get install gcc libc6-dev")
    program = place.folder / "relay"
    source = Path(__file__).with_name("relay.c")
    done = subprocess.run([compiler, "-O2", "-o", program, source], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"could not be compiled: {done.stderr.strip() or f'{compiler} said nothing'}")
    port = free_port()
    return start(name, port, [str(program), str(port), str(place.upstream)], folder=place.folder, core=place.core)


Start = Callable[[Place, str], Server]


def started_as(begin: Callable[..., Server], *words: str) -> Start:
    """What starts a peer with these further arguments."""
    return lambda place, name: begin(place, name, *words)


def forms(built: Path, rate: str = "off") -> dict[str, Start]:
    """The gateway in both forms, counting requests towards `rate`; `built` is where the compiled one is."""
    return {PURE: started_as(gateway, str(ROOT), rate), COMPILED: started_as(gateway, f"{built}:{ROOT}", rate)}


def known(built: Path) -> dict[str, Start]:
    """Every peer by name."""
    return {
        **forms(built),
        "nginx": started_as(nginx, "nginx", " ssl http2"),
        "haproxy": started_as(haproxy, "haproxy"),
        "caddy": started_as(caddy, "caddy"),
        "nginx-current": started_as(nginx, str(current.program("nginx-current")), " ssl", "http2 on; "),
        "haproxy-current": started_as(haproxy, str(current.program("haproxy-current"))),
        "caddy-current": started_as(caddy, str(current.program("caddy-current"))),
        "envoy": started_as(envoy, str(current.program("envoy"))),
        BARE: bare,
        RELAY: relay,
    }


def usual(built: Path) -> list[str]:
    """The gateway, compiled too if it was built, and every peer of the distribution whose program is found."""
    forms = [PURE, *([COMPILED] if (built / "proxy").is_dir() else [])]
    return [*forms, *(name for name in ("nginx", "haproxy", "caddy") if shutil.which(name)), BARE]

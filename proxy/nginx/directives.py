"""Directives that stand alone: which setting each one is, and which ones are not needed."""

import re
from collections.abc import Callable

from proxy.nginx.blocks import Directive, Scope
from proxy.nginx.report import Section, Value

_UNITS = {"": "s", "ms": "ms", "s": "s", "m": "m", "h": "h", "d": "d"}


def seconds(text: str) -> str:
    """A time of nginx as a duration. Raises ValueError."""
    found = re.fullmatch(r"(\d+)(ms|[smhdwMy]?)", text)
    if found is None:
        raise ValueError(f"{text} is not a time")
    days = {"w": 7, "M": 30, "y": 365}.get(found[2])
    return f"{int(found[1]) * days}d" if days else f"{found[1]}{_UNITS[found[2]]}"


def size(text: str) -> str:
    """A size of nginx. Raises ValueError."""
    if not re.fullmatch(r"\d+[kmgKMG]?", text):
        raise ValueError(f"{text} is not a size")
    return "off" if not int(text.rstrip("kmgKMG")) else text.lower()


def _switch(text: str) -> bool:
    return text == "on"


def _codings(text: str) -> list[str]:
    return ["*/*" if part == "*" else part for part in ["text/html", *text.split()]]


ROUTED: dict[str, tuple[str, Callable[[str], Value]]] = {
    "client_max_body_size": ("max_body", size),
    "client_body_timeout": ("body_timeout", seconds),
    "proxy_connect_timeout": ("connect_timeout", seconds),
    "proxy_send_timeout": ("send_timeout", seconds),
    "proxy_read_timeout": ("read_timeout", seconds),
    "grpc_connect_timeout": ("connect_timeout", seconds),
    "grpc_send_timeout": ("send_timeout", seconds),
    "grpc_read_timeout": ("read_timeout", seconds),
    "proxy_buffering": ("response_buffering", _switch),
    "proxy_request_buffering": ("request_buffering", _switch),
    "gzip": ("compress", _switch),
    "gzip_types": ("compress_types", _codings),
    "underscores_in_headers": ("underscores_in_fields", _switch),
}
"""Directives that hold for a location, and their settings of a route."""

TOP: dict[str, tuple[str, Callable[[str], Value]]] = {
    "client_header_timeout": ("head_timeout", seconds),
    "send_timeout": ("write_timeout", seconds),
    "keepalive_timeout": ("keepalive_timeout", lambda text: seconds(text.split()[0])),
    "pid": ("pidfile", lambda text: text.rstrip(";")),
    "user": ("user", lambda text: text.split()[0]),
}
"""Directives that hold for the whole gateway."""

_OWN = "the gateway's own way of working"
_FIELDS = "the gateway sets it for every application"
_TLS = "the TLS library's choice of ciphers and sessions is the gateway's"
NEEDLESS = {
    **dict.fromkeys(
        (
            "aio", "daemon", "events", "include", "load_module", "multi_accept", "use", "pcre_jit", "sendfile",
            "sendfile_max_chunk", "tcp_nodelay", "tcp_nopush", "thread_pool", "types", "types_hash_bucket_size",
            "types_hash_max_size", "server_names_hash_bucket_size", "server_names_hash_max_size",
            "map_hash_max_size", "map_hash_bucket_size", "variables_hash_max_size", "worker_rlimit_nofile",
            "worker_priority", "worker_cpu_affinity", "worker_shutdown_timeout", "open_file_cache",
            "open_file_cache_valid", "master_process", "open_file_cache_min_uses", "open_file_cache_errors",
            "output_buffers", "directio", "reset_timedout_connection", "keepalive_requests",
            "large_client_header_buffers", "client_header_buffer_size", "client_body_buffer_size",
            "client_body_temp_path", "client_body_in_file_only", "connection_pool_size", "request_pool_size",
            "server_tokens", "log_not_found", "log_subrequest", "msie_padding", "merge_slashes",
            "absolute_redirect", "port_in_redirect", "server_name_in_redirect", "lingering_close", "lingering_time",
            "lingering_timeout", "chunked_transfer_encoding", "http2_push_preload", "etag", "if_modified_since",
            "max_ranges",
        ),
        _OWN,
    ),
    **dict.fromkeys(
        (
            "proxy_http_version", "proxy_buffers", "proxy_buffer_size", "proxy_busy_buffers_size",
            "proxy_temp_path", "proxy_max_temp_file_size", "proxy_temp_file_write_size",
            "proxy_headers_hash_max_size", "proxy_socket_keepalive", "proxy_headers_hash_bucket_size",
            "proxy_pass_request_headers", "proxy_pass_request_body", "proxy_pass_header", "fastcgi_temp_path",
            "uwsgi_temp_path", "scgi_temp_path", "proxy_ignore_client_abort", "grpc_buffer_size", "grpc_pass_header",
            "grpc_socket_keepalive",
        ),
        "the gateway speaks HTTP/1.1 or HTTP/2 to applications, with buffers of its own",
    ),
    **dict.fromkeys(
        (
            "proxy_next_upstream", "proxy_next_upstream_timeout", "proxy_next_upstream_tries",
            "grpc_next_upstream", "grpc_next_upstream_timeout", "grpc_next_upstream_tries",
        ),
        "a request that is safe to repeat is repeated once, on another peer if there is one",
    ),
    **dict.fromkeys(
        (
            "ssl_ciphers", "ssl_prefer_server_ciphers", "ssl_session_cache", "ssl_session_timeout",
            "ssl_session_tickets", "ssl_dhparam", "ssl_ecdh_curve", "ssl_stapling", "ssl_stapling_verify",
            "ssl_trusted_certificate", "ssl_buffer_size", "ssl_early_data", "ssl_verify_depth", "ssl_conf_command",
            "ssl", "http2",
        ),
        _TLS,
    ),
    **dict.fromkeys(
        (
            "gzip_vary", "gzip_proxied", "gzip_comp_level", "gzip_min_length", "gzip_buffers", "gzip_http_version",
            "gzip_disable", "gzip_static", "brotli_static", "brotli_comp_level",
        ),
        "compression has no finer settings; precompressed files are always used",
    ),
    **dict.fromkeys(
        (
            "proxy_ssl_verify", "proxy_ssl_server_name", "proxy_ssl_session_reuse", "proxy_ssl_protocols",
            "grpc_ssl_verify", "grpc_ssl_server_name", "grpc_ssl_session_reuse", "grpc_ssl_protocols",
        ),
        "certificates of applications are verified, names sent, sessions resumed",
    ),
    **dict.fromkeys(
        (
            "proxy_cache_lock", "proxy_cache_lock_timeout", "proxy_cache_lock_age", "proxy_cache_revalidate",
            "proxy_cache_background_update", "proxy_cache_min_uses", "proxy_cache_methods", "proxy_cache_convert_head",
            "proxy_cache_max_range_offset",
        ),
        "the gateway's cache always works this way",
    ),
    **dict.fromkeys(("resolver", "resolver_timeout"), "names of upstreams are resolved by the system"),
    **dict.fromkeys(("real_ip_recursive", "zone"), _OWN),
    **dict.fromkeys(("limit_req_log_level", "limit_conn_log_level"), "refusals are counted and logged"),
    "ignore_invalid_headers": "see underscores_in_fields",
    "charset": "the content types of text files have charset=utf-8",
    "proxy_redirect": "an application behind the gateway writes its own host into redirects",
}  # fmt: skip
"""Directives that need no setting, and why."""

NEEDLESS_FIELDS = {
    "host": _FIELDS,
    "connection": _FIELDS,
    "x-real-ip": _FIELDS,
    "x-forwarded-for": _FIELDS,
    "x-forwarded-proto": _FIELDS,
    "x-forwarded-host": _FIELDS,
    "x-forwarded-port": _FIELDS,
    "x-request-id": _FIELDS,
    "forwarded": _FIELDS,
    "x-forwarded-server": "no application needs it",
    "x-forwarded-scheme": "applications read X-Forwarded-Proto",
    "x-forwarded-ssl": "applications read X-Forwarded-Proto",
    "x-url-scheme": "applications read X-Forwarded-Proto",
    "x-scheme": "applications read X-Forwarded-Proto",
    "proxy": "the gateway removes it",
    "early-data": "the gateway accepts no early data",
}
"""Request fields that nginx has to be told to set, and the gateway does not."""


def simple(scope: Scope, section: Section, table: dict[str, tuple[str, Callable[[str], Value]]]) -> None:
    """Translate the directives of a table that hold in a scope."""
    for name, (key, read) in table.items():
        directive = scope.last(name)
        if directive is None:
            continue
        try:
            section.values[key] = read(directive.value)
        except ValueError as problem:
            section.lost(directive, str(problem))


def remark(directive: Directive, section: Section, known: set[str]) -> None:
    """Say of a directive that it is not needed, or that nothing is known of it, unless it is `known` elsewhere."""
    if directive.name in NEEDLESS:
        section.needless(directive, NEEDLESS[directive.name])
    elif directive.name not in known:
        section.lost(directive, "no setting of the gateway does this")

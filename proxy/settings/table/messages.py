"""Changes to requests and responses, local responses, and access."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from proxy.settings.table.row import routed, template
from proxy.settings.values import field_lines, kinds, web
from proxy.settings.values import template as templates
from proxy.settings.values.web import Network


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Fields and paths, rewritten or checked."""

    __slots__ = ()
    GROUP: ClassVar = "Fields"

    strip_prefix: Annotated[
        bool,
        routed(kinds.SWITCH, "remove the route's path from the target; X-Forwarded-Prefix tells the upstream"),
    ] = False
    map_addresses: Annotated[
        bool,
        routed(
            kinds.SWITCH,
            "with strip_prefix: put the prefix into Location, Content-Location, Refresh and cookie paths of responses "
            "unless it is there, and take it off the Destination of requests",
        ),
    ] = True
    rewrite: Annotated[
        str,
        template(
            templates.TARGET,
            "path that the upstream is asked for, such as /new/{name}{rest}; the query stays unless it has its own",
        ),
    ] = ""
    set_request_fields: Annotated[
        tuple[tuple[str, str], ...],
        template(
            field_lines.OF_REQUESTS,
            "request fields to set for the upstream; placeholders such as {user} or {path} are replaced "
            "(docs/howto/rewriting.md)",
            has_flag=False,
        ),
    ] = ()
    remove_request_fields: Annotated[tuple[str, ...], routed(field_lines.NAMES, "request fields to remove")] = ()
    set_response_fields: Annotated[
        tuple[tuple[str, str], ...],
        template(field_lines.OF_RESPONSES, "response fields to set; placeholders are replaced", has_flag=False),
    ] = ()
    remove_response_fields: Annotated[tuple[str, ...], routed(field_lines.NAMES, "response fields to remove")] = ()
    forwarded: Annotated[
        bool, routed(kinds.SWITCH, "send the upstream Forwarded (RFC 7239) in addition to X-Forwarded-*")
    ] = True
    dot_segments: Annotated[
        str,
        routed(kinds.DOT_SEGMENTS, "'pass': accept paths with . and .. segments unless they lead to another route"),
    ] = "refuse"
    underscores_in_fields: Annotated[
        bool,
        routed(
            kinds.SWITCH,
            "forward request fields with _, . and the like in their names, except those that imitate the gateway's own",
        ),
    ] = False
    lenient_responses: Annotated[
        bool,
        routed(
            kinds.SWITCH,
            "accept faults of old servers: bare LF, folded lines, repeated equal lengths, chunks in HTTP/1.0",
        ),
    ] = False
    via: Annotated[
        bool, routed(kinds.SWITCH, "add the gateway to Via for the upstream, and answer 508 to requests that loop")
    ] = True


@dataclass(frozen=True, kw_only=True)
class LocalResponses:
    """Responses without an upstream."""

    __slots__ = ()
    GROUP: ClassVar = "Local responses"

    redirect: Annotated[
        str,
        template(
            templates.ADDRESS,
            "redirect to this URL; placeholders such as {host} (without port), {path}, {rest} (the path after the "
            "route's) and {query} (with its question mark) are replaced",
        ),
    ] = ""
    redirect_status: Annotated[int, routed(web.REDIRECT_STATUS, "status of that redirect")] = 308
    respond: Annotated[
        str, template(templates.CONTENT, "respond with this text; placeholders are replaced, escaped for its type")
    ] = ""
    respond_status: Annotated[int, routed(web.STATUS, "status of that response")] = 200
    respond_type: Annotated[str, routed(web.CONTENT_TYPE, "content type of that response")] = (
        "text/plain; charset=utf-8"
    )
    root: Annotated[
        Path | None,
        routed(kinds.PATH, "directory of files to serve; with upstream: what is no file there goes to the upstream"),
    ] = None
    index: Annotated[str, routed(web.FILE_NAME, "file to serve for a directory; off: none")] = "index.html"
    listing: Annotated[
        bool, routed(kinds.SWITCH, "respond with a page of its files for a directory of root that has no index")
    ] = False
    fallback: Annotated[
        str,
        routed(
            web.PATH,
            "file below root, such as /index.html, to serve in place of missing ones: the page of a single-page "
            "application",
        ),
    ] = ""
    sendfile_root: Annotated[
        Path | None,
        routed(
            kinds.OPTIONAL_PATH, "directory of the files that the upstream may name in X-Sendfile to have them sent"
        ),
    ] = None
    internal: Annotated[
        bool,
        routed(
            kinds.SWITCH,
            "serve the files of root only where an upstream names their address in X-Accel-Redirect; 404 for clients",
        ),
    ] = False
    gateway_health: Annotated[
        bool, routed(kinds.SWITCH, "respond 200 while the gateway serves, 503 while it stops")
    ] = False


@dataclass(frozen=True, kw_only=True)
class Access:
    """Which clients, users and origins may send requests."""

    __slots__ = ()
    GROUP: ClassVar = "Access"

    allow: Annotated[tuple[Network, ...], routed(web.NETWORKS, "client addresses that have access; default: all")] = ()
    deny: Annotated[tuple[Network, ...], routed(web.NETWORKS, "client addresses that have none")] = ()
    basic_auth: Annotated[
        Path | None,
        routed(
            kinds.OPTIONAL_PATH,
            "htpasswd file (bcrypt, htpasswd -B); requests must authenticate as one of its users",
        ),
    ] = None
    forward_auth: Annotated[str, routed(web.URL, "URL of the service that authorises each request")] = ""
    forward_auth_fields: Annotated[
        tuple[str, ...], routed(field_lines.NAMES, "fields of its response to pass to the upstream")
    ] = ()
    forward_auth_request_fields: Annotated[
        tuple[str, ...],
        routed(
            field_lines.NAMES,
            "fields of the client that the service gets beside X-Forwarded-*; *: all but those about a body",
        ),
    ] = ("*",)
    forward_auth_skip_preflights: Annotated[
        bool,
        routed(kinds.SWITCH, "pass CORS preflight requests, which have no credentials, without asking the service"),
    ] = False
    cors_origins: Annotated[tuple[str, ...], routed(web.ORIGINS, "origins whose pages may read responses; *: all")] = ()
    cors_methods: Annotated[tuple[str, ...], routed(web.TOKENS, "methods that such pages may use")] = (
        "GET",
        "HEAD",
        "POST",
        "PUT",
        "PATCH",
        "DELETE",
    )
    cors_fields: Annotated[tuple[str, ...], routed(web.TOKENS, "fields that such pages may send")] = (
        "Authorization",
        "Content-Type",
    )
    cors_credentials: Annotated[bool, routed(kinds.SWITCH, "such pages may send cookies")] = False
    cors_max_age: Annotated[float, routed(kinds.DURATION, "how long browsers may cache preflight responses")] = 600.0


@dataclass(frozen=True, kw_only=True)
class Responses:
    """What happens to responses, and what clients see of failures."""

    __slots__ = ()
    GROUP: ClassVar = "Responses"

    compress: Annotated[bool, routed(kinds.SWITCH, "compress responses for clients that accept it")] = False
    compress_types: Annotated[
        tuple[str, ...],
        routed(web.MEDIA_TYPES, "content types to compress; * after a slash stands for all"),
    ] = ("text/*", "application/json", "application/javascript", "application/xml", "image/svg+xml")
    error_pages: Annotated[
        Path | None,
        routed(
            kinds.OPTIONAL_PATH,
            "directory of pages for the gateway's own errors: 404.html, 5xx.html, 5xx.json",
        ),
    ] = None
    maintenance_page: Annotated[
        Path | None,
        routed(kinds.OPTIONAL_PATH, "page to show during maintenance; default: the gateway's own"),
    ] = None
    maintenance_allow: Annotated[
        tuple[Network, ...], routed(web.NETWORKS, "client addresses that are served during maintenance")
    ] = ()

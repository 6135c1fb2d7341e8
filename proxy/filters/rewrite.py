"""What a route changes: in requests on their way to the upstream, in responses on their way to the client.

`RESPONSE_CHANGES` is the one place for settings that change the head of responses.
"""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from proxy.errors import ExchangeError
from proxy.exchange.local_response import LocalResponse
from proxy.exchange.recoding import MOST_STORED
from proxy.exchange.request import Request
from proxy.filters.compression import Asked, Compression, restored
from proxy.filters.cors import Cors
from proxy.filters.header_fields import FieldRewrite, RequestFieldRewrite, TemplateRewrite
from proxy.filters.mount import Mount
from proxy.filters.target import TargetRewrite
from proxy.log import log
from proxy.settings import Settings
from proxy.settings.pages import ErrorPages, load_pages
from proxy.upstream.cluster import Cluster
from proxy.wire.head import CRLF
from proxy.wire.local_response import error_response
from proxy.wire.memo import BoundedMemo
from proxy.wire.negotiation import IDENTITY
from proxy.wire.response import ResponseHead
from proxy.wire.route_path import RoutePath
from proxy.wire.target import quoted, without_prefix

_Known = tuple[Asked, bytes, int | None, bool]
_MOST_CHOSEN: Final = 512
"""Heads of stored responses of which the coding is remembered, for each request that asks for another."""


class ResponseChange(Protocol):
    """A change of a response's head; `peer` is the upstream that sent it, empty for the gateway's own."""

    def __call__(self, lines: list[bytes], request: Request, peer: str) -> list[bytes]:
        """The field lines after the change, or the same list if there is nothing to change."""


def _mount(settings: Settings, path: RoutePath, _cluster: Cluster) -> ResponseChange | None:
    mount = mount_of(settings, path)
    return None if mount is None else lambda lines, request, peer: mount.response(lines, request) if peer else lines


def _sticky_cookie(settings: Settings, _path: RoutePath, cluster: Cluster) -> ResponseChange | None:
    if not settings.sticky_cookie:
        return None

    def add(lines: list[bytes], request: Request, peer: str) -> list[bytes]:
        line = cluster.sticky_line(request, peer) if peer else None
        return lines if line is None else [*lines, line]

    return add


def _cors(settings: Settings, _path: RoutePath, _cluster: Cluster) -> ResponseChange | None:
    cors = cors_of(settings)
    if cors is None:
        return None
    return lambda lines, request, _peer: cors.allow(request.fields.lines, lines)


def _response_fields(settings: Settings, path: RoutePath, _cluster: Cluster) -> ResponseChange | None:
    setting, removing = settings.set_response_fields, settings.remove_response_fields
    rewrite = TemplateRewrite(setting, removing, path, settings.upstream_authority)
    return (lambda lines, request, _peer: rewrite.apply(request, lines)) if rewrite else None


def _hsts(settings: Settings, _path: RoutePath, _cluster: Cluster) -> ResponseChange | None:
    """RFC 6797 section 7.2: never in a response without TLS."""
    if not settings.hsts:
        return None
    rewrite = FieldRewrite((("Strict-Transport-Security", f"max-age={settings.hsts:.0f}"),), ())
    return lambda lines, request, _peer: rewrite.apply(lines) if request.scheme == b"https" else lines


RESPONSE_CHANGES: Final[Mapping[str, Callable[[Settings, RoutePath, Cluster], ResponseChange | None]]] = {
    "strip_prefix": _mount,
    "sticky_cookie": _sticky_cookie,
    "cors_origins": _cors,
    "set_response_fields": _response_fields,
    "hsts": _hsts,
}
"""What makes each change of the settings, or None if they do not ask for it, in the order in which they apply.

Each is under the name of a setting that switches it on. Compression comes after all of them.
"""


def build_rewrite(settings: Settings, path: RoutePath, cluster: Cluster) -> "Rewrite | None":
    """What a route changes, or None if it changes nothing. `path` is where it applies."""
    rewrite = Rewrite(settings, path, cluster)
    return rewrite if rewrite else None


def mount_of(settings: Settings, path: RoutePath) -> Mount | None:
    """The mapping of addresses of an application that does not see the route's path."""
    if not (settings.strip_prefix and settings.map_addresses and settings.upstream) or path.text == b"/":
        return None
    hosts = [value for name, value in settings.set_request_fields if name.lower() == "host"]
    if not hosts and settings.upstream_host != "client":
        hosts = ["{upstream}" if settings.upstream_host == "upstream" else settings.upstream_host]
    return Mount(path, "".join(hosts).replace("{upstream}", settings.upstream_authority).encode())


def cors_of(settings: Settings) -> Cors | None:
    """What the route grants to pages of other origins."""
    if not settings.cors_origins:
        return None
    return Cors(
        settings.cors_origins,
        settings.cors_methods,
        settings.cors_fields,
        credentials=settings.cors_credentials,
        max_age=settings.cors_max_age,
    )


class Rewrite:
    """One route's. Heads that came in stay as they are: each change makes a new one."""

    def __init__(self, settings: Settings, path: RoutePath, cluster: Cluster) -> None:
        authority = settings.upstream_authority
        fields = settings.set_request_fields
        if settings.upstream_host not in ("client", "upstream"):
            fields = (*fields, ("Host", settings.upstream_host))
        self._request_fields = RequestFieldRewrite(fields, settings.remove_request_fields, path, authority)
        self._target = TargetRewrite(settings.rewrite, path, authority) if settings.rewrite else None
        self._peer_host = settings.upstream_host == "upstream"
        self._addresses = mount_of(settings, path)
        self._mount = path if settings.strip_prefix and path.text != b"/" else None
        built = [build(settings, path, cluster) for build in RESPONSE_CHANGES.values()]
        self._changes = tuple(change for change in built if change is not None)
        self._compression = Compression(settings.compress_types) if settings.compress else None
        self._chosen: BoundedMemo[_Known, tuple[ResponseHead, bytes]] = BoundedMemo(_MOST_CHOSEN)
        self._has_pages = bool(settings.error_pages or settings.maintenance_page)
        try:
            self._pages = load_pages(settings.error_pages, settings.maintenance_page)
        except ValueError as problem:
            # They were good when the settings were checked; a page that vanished since must not end the worker.
            log.warning("error pages not loaded: %s", problem)
            self._pages = ErrorPages({})

    def __bool__(self) -> bool:
        request_changes = (self._mount, self._target, self._request_fields, self._peer_host)
        return any((*request_changes, self._changes, self._compression, self._has_pages))

    def outgoing(self, request: Request) -> Request:
        """The request as the upstream gets it."""
        lines = request.block.split(CRLF)[:-1]
        target = request.target
        mount = self._mount
        if self._target is not None and target[:1] == b"/":
            target = self._target.target(request)
        elif mount is not None and target[:1] == b"/":
            prefix = mount.prefix(target)
            target = without_prefix(prefix, target)
            if self._addresses is not None:
                lines = self._addresses.destination(lines, request)
            lines.append(b"X-Forwarded-Prefix: " + (quoted(prefix) if mount.variable else prefix))
        if self._compression is not None:
            lines = [restored(line) for line in lines]
        if self._request_fields:
            lines = self._request_fields.apply(request, lines)
        return request.sent_as(target, b"".join(line + CRLF for line in lines))

    def incoming(self, request: Request, response: ResponseHead, peer: str) -> tuple[ResponseHead, bytes]:
        """A peer's response as the client gets it, and the content coding to apply to its body."""
        return self._encoded(request, self._changed(request, response, peer))

    def local(self, request: Request, local: LocalResponse) -> tuple[ResponseHead, ResponseHead, bytes]:
        """The heads of a response of the gateway's own, without and with the content coding that its body may get."""
        plain = self._changed(request, local.head(), local.peer)
        if local.length > MOST_STORED:
            return plain, plain, IDENTITY
        if local.forms is None or self._compression is None:
            return plain, *self._encoded(request, plain)
        # The same each time: choosing a coding takes longer than sending what is stored.
        key = Asked.of(request.fields.lines), plain.start, plain.content_length, plain.dated
        head, coding = self._chosen.get(key) or self._chosen.remember(key, self._encoded(request, plain))
        return plain, head, coding

    def refusal(self, request: Request, error: ExchangeError) -> tuple[ResponseHead, bytes]:
        """The gateway's own response to a request that failed, with the route's pages."""
        response, body = error_response(error, request.id, request.fields.accept, self._pages.page)
        return self._changed(request, response, ""), body

    def _changed(self, request: Request, response: ResponseHead, peer: str) -> ResponseHead:
        lines = response.lines
        for change in self._changes:
            lines = change(lines, request, peer)
        return response if lines is response.lines else response.with_lines(lines, sized=True)

    def _encoded(self, request: Request, response: ResponseHead) -> tuple[ResponseHead, bytes]:
        if self._compression is None:
            return response, IDENTITY
        lines, coding = self._compression.choose(request.fields.lines, response)
        if lines is response.lines:
            return response, IDENTITY
        return response.with_lines(lines, sized=coding == IDENTITY), coding

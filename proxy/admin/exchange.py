"""A request to the admin address, as HTTP: read within bounds, answered in full."""

from proxy.admin.admin import Admin
from proxy.admin.body import admin_body
from proxy.admin.response import AdminRequest
from proxy.errors import ExchangeError
from proxy.exchange.delivery import PaceLimits, send_rest
from proxy.exchange.downstream import Downstream
from proxy.exchange.request import Request
from proxy.settings import Settings
from proxy.wire.local_response import own_answer
from proxy.wire.response import ResponseHead


def answer_admin(admin: Admin, connection: Downstream, request: Request, settings: Settings, *, proven: bool) -> None:
    """Answer it; `proven`: the connection shows that its client may command. Raises ClientGone."""
    try:
        body = admin_body(connection, request, settings)
    except ExchangeError as error:
        response, content = own_answer(error, request.id, request.fields.accept)
    else:
        fields = request.fields
        answer = admin.respond(
            AdminRequest.of_lines(request.method, request.target, fields.host, fields.lines, body, proven=proven)
        )
        content = answer.body
        response = ResponseHead(1, answer.status, b"")
        response.start += b"Content-Type: %s\r\nCache-Control: no-store\r\n%s" % (
            answer.content_type.encode(),
            answer.fields,
        )
    rest = connection.begin(response, len(content), content, stream=False)
    if rest:
        send_rest(connection.sink, rest, PaceLimits(settings.write_timeout, 0))

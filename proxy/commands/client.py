"""The client side of the admin address, for the command line."""

import http.client
import json
import os
import socket
from pathlib import Path
from typing import Any

from proxy.process import runtime_directory as runtime
from proxy.settings import Settings, SettingsError, config_file, load_some, table
from proxy.settings.token import read_token
from proxy.settings.values import Address

SUCCESS = 0
FAILED = 1  # refused, or no gateway responds
USAGE = 2  # invalid argument; nothing was tried
PARTLY = 3  # accepted, but not finished in time: the message says what is left
INTERRUPTED = 130  # Ctrl-C, by the shells' convention

_PATIENCE = 30.0  # seconds without data; a reload may take half of it
_MOST = 16 << 20  # bytes of a response
_TRIAL = 5.0  # seconds for a gateway to accept a connection
_SETTINGS = ("admin", "admin_socket", "admin_token_file", "bind")


class CommandError(Exception):
    """A failed command: the line to show, and the exit code."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


class Unanswered(CommandError):  # noqa: N818 - names what happened
    """The gateway has not responded, or asks for the command once more: it may have carried it out."""


class Admin:
    """One gateway, reached by its command socket or its admin address."""

    def __init__(self, address: Address, token: bytes = b"") -> None:
        self.address = address
        self._fields = {"Content-Type": "application/json", "Host": "localhost" if address.path else str(address)}
        if token:
            self._fields["Authorization"] = f"Bearer {token.decode()}"

    @classmethod
    def find(cls, address: str | None, config: str | None, token_file: str | None) -> "Admin":
        """Find a gateway by its address, by its file, or as the only one that this account may send commands to.

        Its command socket, which needs no token, is preferred. Raises CommandError for unreadable arguments, and
        when there are several gateways to choose from.
        """
        given = _configured(config)
        for name, raw in (("admin", address), ("admin_token_file", token_file)):
            if raw is not None:
                given[name] = _value(name, raw, "--admin" if name == "admin" else "--token-file")
        if address is not None:
            given["admin_socket"] = "auto"  # of that gateway, not of the one in the file
        chosen = {name: given.get(name, getattr(Settings(), name)) for name in _SETTINGS}
        direct = token_file is not None or (address is not None and chosen["admin"] and chosen["admin"].path)
        socket_file = None if direct else _own_socket(chosen, named=bool(given))
        if socket_file is not None:
            return cls(Address(path=str(socket_file)))
        if chosen["admin"] is None:
            raise CommandError(
                'this gateway has no admin address (admin = "off"), and no socket for commands that this account may '
                "connect to",
                USAGE,
            )
        path = chosen["admin_token_file"]
        try:
            return cls(chosen["admin"], read_token(path) if path else b"")
        except ValueError as problem:
            raise CommandError(f"{path}: {problem}", USAGE) from None

    def status(self) -> dict[str, Any]:
        """/status.json. Raises CommandError."""
        return self._ask("GET", "/status.json")

    def token(self) -> str:
        """The token of the admin address. Raises CommandError."""
        return str(self._ask("GET", "/token")["token"])

    def command(self, name: str, /, **given: Any) -> dict[str, Any]:
        """Send a command; arguments that are None are left out.

        Raises CommandError with the gateway's message, Unanswered if it may be sent again.
        """
        return self._ask("POST", f"/{name}", {key: value for key, value in given.items() if value is not None})

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        connection = connect(self.address, _PATIENCE)
        try:
            response = self._responded(connection, method, path, body)
            document = _printable(json.loads(response.read(_MOST)))
        except (OSError, http.client.HTTPException) as problem:
            reason = (problem.strerror if isinstance(problem, OSError) else "") or problem or "no response"
            raise Unanswered(
                f"no gateway responds at {self.address}: {reason}; check that it runs and that this is its "
                "admin address (--admin, --config)"
            ) from None
        except ValueError:
            raise CommandError(
                f"{self.address} responded to {method} {path} with {response.status} and no JSON; check that this is "
                "the admin address"
            ) from None
        finally:
            connection.close()
        if not isinstance(document, dict) or response.status not in (200, 202):
            said = document.get("error", "") if isinstance(document, dict) else ""
            fix = (
                "; pass its file with --token-file, or the gateway's file with --config"
                if response.status == 401
                else ""
            )
            kind = Unanswered if response.status == 503 else CommandError
            raise kind(f"{said or f'{self.address} responded with {response.status}'}{fix}")
        return document

    def _responded(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: dict[str, Any] | None
    ) -> http.client.HTTPResponse:
        """The response, asked for once more if the worker that was asked has ended: all commands can be repeated."""
        content = None if body is None else json.dumps(body)
        try:
            connection.request(method, path, content, self._fields)
            return connection.getresponse()
        except ConnectionError as problem:
            if isinstance(problem, ConnectionRefusedError):
                raise
            connection.close()
            connection.request(method, path, content, self._fields)
            return connection.getresponse()


def _printable(value: Any) -> Any:
    """A response made safe for a terminal: it may contain text from clients."""
    if isinstance(value, str):
        return "".join(sign if sign.isprintable() or sign == "\n" else "\ufffd" for sign in value)
    if isinstance(value, list):
        return [_printable(one) for one in value]
    return {name: _printable(one) for name, one in value.items()} if isinstance(value, dict) else value


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, address: Address, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._address = address

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._address.sockaddr)


def connect(address: Address, timeout: float) -> http.client.HTTPConnection:
    """An HTTP connection to an address, opened at first use; `timeout`: seconds without data."""
    if address.path:
        return _UnixConnection(address, timeout)
    return http.client.HTTPConnection(address.host, address.port, timeout=timeout)


def _own_socket(chosen: dict[str, Any], *, named: bool) -> Path | None:
    """The gateway's command socket, if this account may connect to it. Raises CommandError when none is `named` and
    there are several."""
    if chosen["admin_socket"] == "off":
        return None
    if chosen["admin_socket"] != "auto":
        path = Path(chosen["admin_socket"])
        return path if _accepts(path) else None
    known = [path for path in runtime.sockets() if _accepts(path)]
    if named:
        name = runtime.file_name(chosen["admin"] or chosen["bind"][0])
        return next((path for path in known if path.name == name), None)
    if len(known) > 1:
        choices = ", ".join(f"--admin {runtime.choice(path)}" for path in known)
        raise CommandError(f"several gateways run here; choose one: {choices}", USAGE)
    return known[0] if known else None


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as trial:
        trial.settimeout(_TRIAL)
        try:
            trial.connect(str(path))
        except OSError:
            return False
    return True


def _configured(config: str | None) -> dict[str, Any]:
    """The settings needed here; checking the rest would need read access to every file they name."""
    try:
        path = config_file({} if config is None else {"config": config}, os.environ)
        found = load_some(_SETTINGS, path, os.environ)
    except SettingsError as problem:
        raise CommandError(problem.mistakes[0], USAGE) from None
    return found if found or path is None else {"admin": Settings().admin}


def _value(name: str, raw: object, source: str) -> Any:
    row = next(row for row in table() if row.name == name)
    try:
        return row.kind.read(raw)
    except ValueError as problem:
        raise CommandError(f"{source} {raw}: {problem}", USAGE) from None

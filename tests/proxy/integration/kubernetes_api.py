"""A stand-in for Kubernetes' API server: one pod, in which commands echo their input in upper case.

It speaks as much as `kubectl exec` needs: what the API has, the pod, and the streams of a command over SPDY/3.1, which
kubectl falls back to where a WebSocket is refused. Headers of SPDY's frames are compressed; those of the client need
not be read, because it opens its streams in a known order, and those of the server may be empty.
"""

import json
import struct
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

_POD = "/api/v1/namespaces/default/pods/app"
_ANSWERS = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [{"name": "pods", "singularName": "pod", "namespaced": True, "kind": "Pod", "verbs": ["get"]}],
    },
    _POD: {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": "app", "namespace": "default"},
        "spec": {"containers": [{"name": "app", "image": "app"}]},
        "status": {"phase": "Running"},
    },
}
_SYN_STREAM, _SYN_REPLY, _PING = 1, 2, 6
_FIN = 1


class _Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Cluster"

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        upgrade = self.headers.get("Upgrade", "")
        self.server.asked.append((self.command, address.path, upgrade))
        if address.path == f"{_POD}/exec" and upgrade == "SPDY/3.1":
            self._execute(parse_qs(address.query))
            return
        answer = _ANSWERS.get(address.path)
        failure = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "not here", "code": 400}
        body = json.dumps(answer or failure).encode()
        self.send_response(200 if answer else 400)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def _execute(self, asked: dict[str, list[str]]) -> None:
        self.send_response(101)
        for name, value in (("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1")):
            self.send_header(name, value)
        self.send_header("X-Stream-Protocol-Version", "v4.channel.k8s.io")
        self.end_headers()
        self.close_connection = True
        names = ["error", *(name for name in ("stdin", "stdout", "stderr") if asked.get(name) == ["true"])]
        streams: dict[str, int] = {}
        compressor = zlib.compressobj()
        given, ended = b"", False
        while not ended:
            head = self.rfile.read(8)
            if len(head) < 8:
                return
            payload = self.rfile.read(int.from_bytes(head[5:8]))
            if not head[0] & 0x80:
                given += payload
                ended = bool(head[4] & _FIN) and int.from_bytes(head[:4]) == streams["stdin"]
            elif int.from_bytes(head[2:4]) == _SYN_STREAM:
                stream = int.from_bytes(payload[:4])
                streams[names[len(streams)]] = stream
                block = compressor.compress(bytes(4)) + compressor.flush(zlib.Z_SYNC_FLUSH)
                self._control(_SYN_REPLY, struct.pack("!I", stream) + block)
            elif int.from_bytes(head[2:4]) == _PING:
                self._control(_PING, payload)
        status = {"metadata": {}, "status": "Success"}
        for name, data in (("stdout", given.upper()), ("stderr", b"the end\n"), ("error", json.dumps(status).encode())):
            self._data(streams[name], data)
        while self.rfile.read1():  # until the client closes: what is unread would reset the connection
            pass

    def _control(self, kind: int, payload: bytes) -> None:
        self.wfile.write(struct.pack("!HHI", 0x8003, kind, len(payload)) + payload)

    def _data(self, stream: int, data: bytes) -> None:
        self.wfile.write(struct.pack("!II", stream, _FIN << 24 | len(data)) + data)


class Cluster(ThreadingHTTPServer):
    """Runs until `close`; `asked` are method, path and Upgrade of each request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Api)
        self.asked: list[tuple[str, str, str]] = []
        self.address = f"127.0.0.1:{self.server_port}"
        self._thread = Thread(target=self.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

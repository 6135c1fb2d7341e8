"""A name server for one zone: it answers the authority's questions and takes signed updates (RFC 2136)."""

import contextlib
import socketserver
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsigkeyring

from tests.serving import serving

KEY = 'key "updates" {\n\talgorithm hmac-sha256;\n\tsecret "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0";\n};\n'
SECRET = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"


class Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True


class Udp(socketserver.ThreadingUDPServer):
    daemon_threads = True


class Zone:
    """The zone's TXT records: those of updates, and those that a program has written to `file`, one `NAME VALUE` a
    line. Every other name leads to this machine."""

    def __init__(self, name: str, file: Path) -> None:
        self.name = dns.name.from_text(name)
        self.port = 0
        self.updates: list[str] = []
        """What was added and removed, as `add NAME` or `remove NAME`."""
        self.records: set[tuple[str, str]] = set()
        self.file = file
        self._keyring = dns.tsigkeyring.from_text({"updates": SECRET})

    def answered(self, wire: bytes) -> bytes:
        try:
            asked = dns.message.from_wire(wire, keyring=self._keyring)
        except dns.message.UnknownTSIGKey:
            refused = dns.message.make_response(dns.message.from_wire(wire, keyring=False))
            refused.set_rcode(dns.rcode.NOTAUTH)
            return refused.to_wire()
        except dns.exception.DNSException:
            return b""
        response = dns.message.make_response(asked)
        response.flags |= dns.flags.AA
        if asked.opcode() == dns.opcode.UPDATE:
            response.set_rcode(self._updated(asked))
        else:
            self._answer(asked.question[0], response)
        return response.to_wire()

    def _updated(self, asked: Any) -> Any:
        if not asked.had_tsig:
            return dns.rcode.REFUSED
        for change in asked.authority if hasattr(asked, "authority") else asked.update:
            name = change.name.to_text().rstrip(".")
            for record in change:
                text = b"".join(record.strings).decode()
                if change.deleting == dns.rdataclass.NONE:
                    self.records.discard((name, text))
                    self.updates.append(f"remove {name}")
                else:
                    self.records.add((name, text))
                    self.updates.append(f"add {name}")
        return dns.rcode.NOERROR

    def _answer(self, question: Any, response: Any) -> None:
        name = question.name.to_text().rstrip(".").lower()
        found = []
        if question.rdtype == dns.rdatatype.SOA and question.name == self.name:
            found = ["ns.test. admin.test. 1 60 60 60 60"]
        elif question.rdtype == dns.rdatatype.TXT:
            written = self.file.read_text().splitlines() if self.file.exists() else []
            every = {*self.records, *(tuple(line.split()) for line in written)}
            found = [value for owner, value in every if owner == name]
        elif question.rdtype == dns.rdatatype.A:
            found = ["127.0.0.1"]
        if found:
            response.answer.append(dns.rrset.from_text_list(question.name, 60, "IN", question.rdtype, found))


@contextlib.contextmanager
def zone(name: str, file: Path) -> Iterator[Zone]:
    """Run it, over UDP and TCP."""
    made = Zone(name, file)

    class OverTcp(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while head := self.rfile.read(2):
                answer = made.answered(self.rfile.read(*struct.unpack("!H", head)))
                if not answer:
                    return
                self.wfile.write(struct.pack("!H", len(answer)) + answer)

    class OverUdp(socketserver.DatagramRequestHandler):
        def handle(self) -> None:
            self.wfile.write(made.answered(self.rfile.read()))

    with serving(Tcp(("127.0.0.1", 0), OverTcp)) as tcp:
        made.port = tcp.server_address[1]
        with serving(Udp(("127.0.0.1", made.port), OverUdp)):
            yield made

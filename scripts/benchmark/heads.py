"""Request heads as browsers send them, no two connections alike."""

import base64
import random

SEED = 20
ENGINES = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:{0}.0) Gecko/20100101 Firefox/{0}.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{} Safari/605",
)
LANGUAGES = ("en-GB,en;q=0.9", "de-DE,de;q=0.9,en;q=0.7", "fr-CH,fr;q=0.8", "es-ES,es;q=0.9", "pt-BR,pt;q=0.8")
ACCEPTS = (
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "application/json, text/plain, */*",
    "image/avif,image/webp,image/png,image/svg+xml,*/*;q=0.8",
)


def fields(number: int) -> str:
    """Seven fields for the connection of this number; the same ones each time it is asked."""
    choice = random.Random(SEED * 1_000_003 + number)  # noqa: S311 - variety, not secrecy
    session = choice.randbytes(18).hex()
    return (
        f"User-Agent: {choice.choice(ENGINES).format(choice.randrange(100, 160))}\r\n"
        f"Accept: {choice.choice(ACCEPTS)}\r\n"
        f"Accept-Language: {choice.choice(LANGUAGES)}\r\n"
        "Accept-Encoding: gzip, deflate, br\r\n"
        f"Referer: https://example.org/debates/{choice.randrange(1_000_000)}?page={choice.randrange(90)}\r\n"
        f"Cookie: session={session}; theme={choice.choice(('dark', 'light'))}\r\n"
        f"Sec-Fetch-Site: {choice.choice(('same-origin', 'none', 'cross-site'))}\r\n"
    )


def request(method: str, target: str, port: int, number: int, body: bytes = b"", extra: str = "") -> bytes:
    """One whole HTTP/1.1 request with seven browser-like fields."""
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    head = f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{fields(number)}{extra}{length}\r\n"
    return head.encode() + body


def upgrade(port: int, number: int) -> bytes:
    """One WebSocket handshake with the same fields."""
    key = base64.b64encode(random.Random(number).randbytes(16)).decode()  # noqa: S311
    return (
        f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{fields(number)}Connection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    ).encode()


def frame(size: int) -> bytes:
    """A masked binary WebSocket message of `size` bytes. The mask is zero: legal, and it costs the origin nothing."""
    if size < 126:
        return bytes((0x82, 0x80 | size)) + bytes(4) + b"x" * size
    return bytes((0x82, 0xFE)) + size.to_bytes(2, "big") + bytes(4) + b"x" * size

"""Programs in Lua that a Redis server runs as one step, between those of other clients."""

from hashlib import sha1
from typing import Final

from redis.exceptions import NoScriptError

from proxy.net.redis_connection import RedisConnection

_PREFIX: Final = b"aragora-proxy:"


class Script:
    """One program, about one key. The server knows it by its digest once it has seen it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._digest = sha1(text.encode(), usedforsecurity=False).hexdigest()

    def run(self, connection: RedisConnection, key: bytes, arguments: tuple[float, ...]) -> bytes:
        """Its answer. Waits; raises `RedisError` or `OSError`."""
        about: tuple[str | bytes | float, ...] = 1, _PREFIX + key, *arguments
        try:
            return connection.ask("EVALSHA", self._digest, *about)
        except NoScriptError:
            return connection.ask("EVAL", self._text, *about)


TRIAL: Final = Script("return redis.call('SET', KEYS[1], '', 'PX', 1000)")
"""Shows that the server can be written to."""

TAKE: Final = Script("""
local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local level, touched = 0, now
local kept = redis.call('GET', KEYS[1])
if kept then
    level, touched = struct.unpack('<dd', kept)
    level = math.max(0, level - math.max(0, now - touched) * rate)
end
local left = burst - 1 - level
if left >= 0 or now < touched then
    if left >= 0 then level = level + 1 end
    redis.call('SET', KEYS[1], struct.pack('<dd', level, now), 'PX', math.ceil(level / rate * 1000))
end
if left < 0 then left = left / rate end
return string.format('%.17g', left)
""")
"""Takes one token from a bucket, given its rate a second and its burst, with the arithmetic of `proxy.limits.buckets`.

Answers as `Buckets.meter` does. A bucket is kept until it is full again: a full one is as good as none. The time is the
server's; should its clock be set back, nothing is counted twice for longer than that step.
"""

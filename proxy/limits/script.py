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

    def run(self, connection: RedisConnection, key: bytes, arguments: tuple[str | float, ...]) -> bytes:
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

SETTLE: Final = Script("""
local name, lease = ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - lease)
local own = KEYS[1] .. ':' .. name
local before = redis.call('HLEN', own)
local others = {}
for _, other in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    if other ~= name then others[#others + 1] = KEYS[1] .. ':' .. other end
end
local held = {}
for at = 3, #ARGV, 4 do
    local key, used, wanted, free = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
    for _, other in ipairs(others) do free = free - tonumber(redis.call('HGET', other, key) or 0) end
    local has = math.max(used, math.min(wanted, free))
    if has > 0 then redis.call('HSET', own, key, has) else redis.call('HDEL', own, key) end
    held[#held + 1] = has
end
redis.call('ZADD', KEYS[1], now, name)
redis.call('PEXPIRE', KEYS[1], lease)
redis.call('PEXPIRE', own, lease)
return table.concat({before, redis.call('HLEN', own), #others + 1, unpack(held)}, ' ')
""")
"""Says what a worker has of some limits and renews its lease of all, given its name and the lease in milliseconds.

For each key: how many shares are used, how many are wanted, and how many there are. Answers how many keys the worker
had before and has now, the number of workers, and how many shares of each key are its own. They are in a hash of the
worker, which is gone when its lease has passed; workers are in a sorted set, by the time of their last command.
"""

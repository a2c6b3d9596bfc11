"""Memcached, in its text protocol (doc/protocol.txt of memcached): `get` of many keys, `set`, `add`, `version`.

It can't list keys, so a purge changes a generation: each value begins with the one it was stored under, each `get` asks
for the present one beside its keys, and a value of another is a miss. A generation is random, so that one which
Memcached threw out and we made anew brings nothing old back.
"""

import asyncio
import secrets
from base64 import urlsafe_b64encode
from urllib.parse import urlsplit

from plimsoll.gateway.cache.remote import Name, RemoteSettings

_DEFAULT_PORT = 11211
_LONGEST_S = 30 * 86400  # a longer expiry would be read as a date
_LONGEST_NAME = 120  # of a service; Memcached's keys have at most 250 bytes
_GENERATION_BYTES = 8


class ProtocolError(Exception):
    """The server said something else than what was asked for."""


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def get(self, keys: list[bytes]) -> dict[bytes, bytes]:
        self._writer.write(b"get %b\r\n" % b" ".join(keys))
        found: dict[bytes, bytes] = {}
        while (line := await self._line()) != b"END":
            words = line.split(b" ")
            if len(words) != 4 or words[0] != b"VALUE" or not words[3].isdigit():
                raise ProtocolError(_said(line))
            data = await self._reader.readexactly(int(words[3]) + 2)
            found[words[1]] = data[:-2]
        return found

    async def store(self, verb: bytes, values: list[tuple[bytes, bytes, int]]) -> list[bool]:
        """`verb`: `set` or `add`; (key, value, seconds to keep it, 0 for ever). Whether each was stored."""
        self._writer.writelines(
            [b"%b %b 0 %d %d\r\n%b\r\n" % (verb, key, keep_s, len(value), value) for key, value, keep_s in values]
        )
        await self._writer.drain()
        stored = []
        for _ in values:
            line = await self._line()
            # Too large, or no memory left: the connection is as it was, and that value is not there.
            if line not in (b"STORED", b"NOT_STORED") and not line.startswith(b"SERVER_ERROR"):
                raise ProtocolError(_said(line))
            stored.append(line == b"STORED")
        return stored

    async def version(self) -> None:
        self._writer.write(b"version\r\n")
        line = await self._line()
        if not line.startswith(b"VERSION"):
            raise ProtocolError(_said(line))

    async def _line(self) -> bytes:
        line = await self._reader.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("Memcached closed the connection")
        return line[:-2]

    def close(self) -> None:
        self._writer.transport.abort()


class MemcachedWire:
    def __init__(self, url: str, settings: RemoteSettings) -> None:
        """`memcached://HOST[:PORT]`. Connects when first used. Raises ValueError where the URL is none."""
        parts = urlsplit(url)
        if parts.scheme != "memcached" or not parts.hostname or parts.username or parts.path.strip("/"):
            raise ValueError("expected memcached://HOST:PORT")
        self._host, self._port = parts.hostname, parts.port or _DEFAULT_PORT
        self._connect_s = settings.command_s
        self._free: list[_Connection] = []

    async def fetch(self, names: list[Name]) -> list[bytes | None]:
        generations = {service: _generation_key(service) for service, _ in names}
        keys = {name: _key(name) for name in names}
        connection = await self._take()
        try:
            found = await connection.get([*generations.values(), *keys.values()])
        except BaseException:  # cancelled, too: what it was sent would be read as the next one's answer
            connection.close()
            raise
        self._free.append(connection)
        values: list[bytes | None] = []
        for name in names:
            generation, value = found.get(generations[name[0]]), found.get(keys[name])
            known = generation is not None and value is not None and value.startswith(generation)
            values.append(value[_GENERATION_BYTES:] if value is not None and known else None)
        return values

    async def save(self, values: list[tuple[Name, bytes, float]]) -> None:
        connection = await self._take()
        try:
            services = {name[0] for name, _, _ in values}
            generations = {service: await self._generation(connection, service) for service in services}
            await connection.store(
                b"set",
                [
                    (_key(name), generations[name[0]] + value, min(int(keep_s) + 1, _LONGEST_S))
                    for name, value, keep_s in values
                ],
            )
        except BaseException:
            connection.close()
            raise
        self._free.append(connection)

    async def purge(self, service: str) -> None:
        connection = await self._take()
        try:
            await connection.store(b"set", [(_generation_key(service), _new_generation(), 0)])
        except BaseException:
            connection.close()
            raise
        self._free.append(connection)

    async def ping(self) -> None:
        for connection in self._free:  # from before the outage
            connection.close()
        self._free.clear()
        connection = await self._take()
        try:
            await connection.version()
        except BaseException:
            connection.close()
            raise
        self._free.append(connection)

    async def close(self) -> None:
        for connection in self._free:
            connection.close()
        self._free.clear()

    async def _generation(self, connection: _Connection, service: str) -> bytes:
        key = _generation_key(service)
        for _ in range(3):  # another gateway may add it first, and Memcached may throw it out in between
            found = (await connection.get([key])).get(key)
            if found is not None and len(found) == _GENERATION_BYTES:
                return found
            made = _new_generation()
            verb = b"add" if found is None else b"set"
            if (await connection.store(verb, [(key, made, 0)]))[0]:
                return made
        raise ProtocolError("it keeps no generation")

    async def _take(self) -> _Connection:
        if self._free:
            return self._free.pop()
        async with asyncio.timeout(self._connect_s):
            return _Connection(*await asyncio.open_connection(self._host, self._port))


def _new_generation() -> bytes:
    return secrets.token_bytes(_GENERATION_BYTES)


def _generation_key(service: str) -> bytes:
    return b"plimsoll:generation:%b" % service.encode()[:_LONGEST_NAME]


def _key(name: Name) -> bytes:
    """In letters: a key of Memcached holds no space and no control character."""
    return b"plimsoll:cache:%b:%b" % (name[0].encode()[:_LONGEST_NAME], urlsafe_b64encode(name[1]))


def _said(line: bytes) -> str:
    return f"Memcached answered {line[:80]!r}"

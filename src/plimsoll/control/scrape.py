"""Reads `/metrics` from gateways and replicas over their Unix sockets: HTTP/1.0, one request a connection.

A scrape happens every 15 seconds or so and only on this machine, so a whole HTTP client would be for nothing.
"""

import asyncio
from collections.abc import Mapping

_LARGEST = 8 << 20
_HEAD_END = b"\r\n\r\n"


async def fetch(address: str, path: str = "/metrics", *, timeout_s: float = 2.0) -> str | None:
    """The body of a 200 answer from `unix:/path` or `tcp:host:port`; None for any other, or none in time."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _fetch(address, path)
    except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None


async def fetch_all(addresses: Mapping[str, str], *, timeout_s: float = 2.0) -> dict[str, str]:
    """By the same names, only those that answered. All at once: one that hangs costs `timeout_s`, not each."""
    texts = await asyncio.gather(*(fetch(address, timeout_s=timeout_s) for address in addresses.values()))
    return {name: text for name, text in zip(addresses, texts, strict=True) if text is not None}


async def _fetch(address: str, path: str) -> str | None:
    reader, writer = await _open(address)
    try:
        writer.write(f"GET {path} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode("ascii"))
        await writer.drain()
        head = await reader.readuntil(_HEAD_END)
        status, *lines = head.decode("latin-1").split("\r\n")
        if status.split(" ", 2)[1:2] != ["200"]:
            return None
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(fields["content-length"]) if "content-length" in fields else None
        if length is not None and length > _LARGEST:
            return None
        body = await (reader.readexactly(length) if length is not None else _to_end(reader))
        return body.decode("utf-8")
    finally:
        writer.close()


async def _to_end(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while chunk := await reader.read(1 << 16):
        body += chunk
        if len(body) > _LARGEST:
            raise ValueError("too large")
    return bytes(body)


async def _open(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    kind, _, rest = address.partition(":")
    if kind == "unix":
        return await asyncio.open_unix_connection(rest)
    host, _, port = rest.rpartition(":")
    return await asyncio.open_connection(host, int(port))

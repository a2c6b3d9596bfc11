"""Addresses for pods and Services on this machine, and names: what a network plugin, kube-proxy and DNS do.

As root, whole ranges are made local (`ip route add local … dev lo`): pods listen on addresses of their own, and a relay
listens on each Service's cluster IP. Without that right pods get 127.0.x.y, which a real API server refuses in
EndpointSlices, and Services are reached by their slices alone.
"""

import asyncio
import contextlib
import itertools
import os
import subprocess

from tests.kube import ranges
from tests.support import lifeline

SERVICE_NAME = "kubernetes.io/service-name"


def may_route():
    return os.geteuid() == 0 and _ip("route", "show").returncode == 0


def _ip(*arguments):
    try:
        return subprocess.run(["ip", *arguments], capture_output=True, check=False, text=True)
    except FileNotFoundError:
        return subprocess.CompletedProcess(arguments, 1)


class Addresses:
    """254 for pods."""

    def __init__(self):
        self._routed = set()
        block = ranges.for_pods()
        self.real = may_route() and self.route(f"{block}.0/24")
        prefix = block if self.real else block.replace("10", "127", 1)
        self._free = [f"{prefix}.{last}" for last in range(254, 0, -1)]

    def take(self):
        return self._free.pop()

    def give_back(self, address):
        # at the far end: who still talks to the old pod must not meet a new one
        self._free.insert(0, address)

    def route(self, network):
        if network in self._routed:
            return True
        found = _ip("route", "add", "local", network, "dev", "lo")
        if found.returncode == 0 or "File exists" in (found.stderr or ""):
            self._routed.add(network)
            lifeline.afterwards("ip", "route", "del", "local", network, "dev", "lo")
            return True
        return False

    def close(self):
        for network in self._routed:
            _ip("route", "del", "local", network, "dev", "lo")
        self._routed.clear()


class ServiceProxy:
    """Relays cluster IP:port to a ready endpoint, in turn; keeps a hosts file with every Service's names."""

    def __init__(self, addresses, folder):
        self._addresses = addresses
        self.hosts = folder / "hosts"
        self.host_conf = folder / "host.conf"
        self.host_conf.write_text("multi on\n")
        self.hosts.write_text("127.0.0.1 localhost\n")
        self._listening = {}  # (address, port) -> server
        self._targets = {}  # (address, port) -> [(host, port)]
        self._turn = itertools.count()
        self._relays = set()

    async def update(self, services, slices):
        """From all Services and EndpointSlices: lists of objects."""
        by_service = {}
        for piece in slices:
            key = piece["metadata"]["namespace"], piece["metadata"].get("labels", {}).get(SERVICE_NAME)
            by_service.setdefault(key, []).append(piece)
        targets, lines = {}, ["127.0.0.1 localhost"]
        for service in services:
            meta, spec = service["metadata"], service["spec"]
            pieces = by_service.get((meta["namespace"], meta["name"]), [])
            lines += _names(meta, spec, pieces)
            if (address := spec.get("clusterIP", "None")) not in ("None", ""):
                for port in spec.get("ports") or ():
                    targets[address, port["port"]] = _ready(pieces, port.get("name", ""))
        text = "\n".join(lines) + "\n"
        if text != self.hosts.read_text():
            self.hosts.write_text(text)  # in place: it is mounted into running containers
        self._targets = targets
        if self._addresses.real:
            await self._listen(targets)

    async def _listen(self, targets):
        for key in self._listening.keys() - targets.keys():
            self._listening.pop(key).close()
        for address, port in targets.keys() - self._listening.keys():
            if not self._addresses.route(f"{address}/32"):
                continue
            with contextlib.suppress(OSError):
                self._listening[address, port] = await asyncio.start_server(
                    lambda reader, writer, key=(address, port): self._relay(key, reader, writer), address, port
                )

    async def _relay(self, key, reader, writer):
        task = asyncio.current_task()
        self._relays.add(task)
        try:
            for _ in range(3):
                found = self._targets.get(key) or []
                if not found:
                    break
                with contextlib.suppress(OSError):
                    other = await asyncio.open_connection(*found[next(self._turn) % len(found)])
                    await _both_ways(reader, writer, *other)
                    return
        finally:
            self._relays.discard(task)
            writer.close()

    async def close(self):
        for server in self._listening.values():
            server.close()
        for task in tuple(self._relays):
            task.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)


async def _both_ways(reader, writer, other_reader, other_writer):
    async def copy(source, sink):
        try:
            while chunk := await source.read(65536):
                sink.write(chunk)
                await sink.drain()
            if sink.can_write_eof():
                sink.write_eof()
        except (OSError, RuntimeError):
            sink.close()

    try:
        await asyncio.gather(copy(reader, other_writer), copy(other_reader, writer))
    finally:
        other_writer.close()


def _names(meta, spec, pieces):
    name, namespace = meta["name"], meta["namespace"]
    names = f"{name}.{namespace}.svc.cluster.local {name}.{namespace}.svc {name}.{namespace}"
    if spec.get("type") == "ExternalName":
        return [f"127.0.0.1 {names}"] if spec.get("externalName") == "localhost" else []
    if spec.get("clusterIP") != "None":
        return [f"{spec['clusterIP']} {names}"] if spec.get("clusterIP") else []
    lines = []
    for piece in pieces:
        for endpoint in piece.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready"):
                lines.append(f"{endpoint['addresses'][0]} {names}")
                if endpoint.get("hostname"):
                    lines.append(f"{endpoint['addresses'][0]} {endpoint['hostname']}.{name}.{namespace}.svc")
    return lines


def _ready(pieces, name):
    found = []
    for piece in pieces:
        port = next((one["port"] for one in piece.get("ports") or () if (one.get("name") or "") == name), None)
        for endpoint in piece.get("endpoints") or ():
            if port and (endpoint.get("conditions") or {}).get("ready"):
                found.append((endpoint["addresses"][0], port))
    return found

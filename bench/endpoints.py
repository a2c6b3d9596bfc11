"""From a changed EndpointSlice to the first request that goes where it says, through one gateway process.

    python -m bench.endpoints [--changes 200] [--services 1000]

A slice names one of two replicas by turns; a client asks without a pause and counts from the API server's write until
the other one answers. The API server is the tests' (in memory): a real one adds what its etcd takes. `--services`:
how many services the gateway knows beside this one, each with a slice of its own.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
from pathlib import Path
from time import perf_counter

import psutil
from tests.support.gateway_host import Client
from tests.support.pods import Stage, view

from plimsoll.core.snapshot import Route


async def measure(folder: Path, changes: int, services: int) -> None:
    async with Stage(folder) as stage:
        pods = [stage.pod("mood-1-aaaaa"), stage.pod("mood-1-bbbbb")]
        gate = stage.gateway("gateway-a")
        others = [f"other-{number:04d}" for number in range(services)]
        for name in others:
            stage.slices(name, pods[0])
        stage.slices("mood", pods[0])
        stage.controller.publish(view(routes=(Route("/mood"),)), *(view(name) for name in others))
        for one in (*pods, gate):
            await one.ready()
        client = await Client.connect(f"tcp:{gate.ip}:8080")
        process = psutil.Process(gate.process.pid)
        seconds, cpu = [], process.cpu_times()
        for number in range(changes):
            wanted = pods[(number + 1) % 2]
            began = perf_counter()
            await asyncio.to_thread(stage.slices, "mood", wanted)
            while json.loads((await client.ask("POST", "/mood", b"{}")).body)["pod"] != wanted.name:
                pass
            seconds.append(perf_counter() - began)
        client.close()
        spent = sum(process.cpu_times()[:2]) - sum(cpu[:2])
        ordered = sorted(seconds)
        p50, p99 = statistics.median(ordered), ordered[int(0.99 * (len(ordered) - 1))]
        print(
            f"slice change to routing, {services + 1} services, {changes} changes: "
            f"p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms, "
            f"worst {ordered[-1] * 1000:.1f} ms; gateway {process.memory_info().rss / 2**20:.0f} MB, "
            f"{spent / sum(seconds) * 100:.0f}% of a core meanwhile"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=200)
    parser.add_argument("--services", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder), options.changes, options.services))


if __name__ == "__main__":
    main()

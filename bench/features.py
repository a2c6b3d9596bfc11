"""What tenants, quotas, the cache, the choice of a replica and the audit log cost a gateway; what a cache hit saves.

The gateway stands on core 0 before nginx, which gives a fixed answer on core 1, as in the gateway's part; each request
has a body of its own, so that the cache never has it. A hit is held against the `heavy` call that it saves: CPU time of
all our processes, and latency, both at one caller, where nothing waits.
"""

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from gateway_server import KEY
from load import Load, drive
from servers import HERE, LOAD_CORE, free_port, nginx_config, on_core, python, running
from stack import Stack, cpu_s, serving
from table import Row

_ANSWER = '{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[1,4],"data":[0,0,0,1]}]}'
_PATH = "/v2/models/heavy/infer"
_PATH = "/v2/models/heavy/infer"
_HEADERS = {"authorization": f"Bearer {KEY}"}


def feature_part(work: Path, body: bytes, *, rounds: int, seconds: float, say: Callable[[str], None]) -> list[Row]:
    if shutil.which("nginx") is None or shutil.which("wrk") is None:
        print("features: skipped, nginx or wrk is missing (Debian: apt-get install nginx wrk)")
        return []
    fixed, plain, full = (free_port() for _ in range(3))
    server = (
        f"server {{ listen 127.0.0.1:{fixed}; location / {{ default_type application/json;"
        f" add_header plimsoll-outcome ok; return 200 '{_ANSWER}'; }} }}"
    )
    rates: dict[str, list[float]] = {"plain": [], "full": []}
    audit = work / "audit.jsonl"
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        enter(running(nginx_config(work, "fixed", server), fixed, core=LOAD_CORE, log=work / "fixed.log"))
        for name, port, more in (("plain", plain, ()), ("full", full, (str(audit),))):
            command = python(str(HERE / "gateway_server.py"), f"tcp:127.0.0.1:{fixed}", str(port), *more)
            enter(running(command, port, log=work / f"gateway-{name}.log", path="/v2/health/ready"))
        for turn in range(rounds + 1):
            for name, port in (("plain", plain), ("full", full)):
                say(f"features: round {turn}/{rounds} {name}")
                url = f"http://127.0.0.1:{port}/v2/models/bench/infer"
                load = drive(url, body, connections=32, seconds=seconds, folder=work, headers=_HEADERS, distinct=True)
                if load.errors:
                    raise RuntimeError(f"{name} answered {load.errors} requests with an error")
                if turn:
                    rates[name].append(load.per_s)
    audit.unlink(missing_ok=True)
    one, other = median(rates["full"]), median(rates["plain"])
    ratio = median(a / b for a, b in zip(rates["full"], rates["plain"], strict=True))
    what = "all features on, 32 connections"
    return [Row("gateway", what, f"{one:,.0f}/s", f"plain {other:,.0f}/s", ratio, "≥ 0.75")]


def cache_part(
    model: Path, body: bytes, work: Path, *, rounds: int, seconds: float, say: Callable[[str], None]
) -> list[Row]:
    """Hits of the memory and, where there is a redis-server, of Redis."""
    rows = []
    backends = ["Memory", "Redis"] if shutil.which("redis-server") else ["Memory"]
    with contextlib.ExitStack() as around:
        redis = around.enter_context(_redis(work)) if "Redis" in backends else 0
        for backend in backends:
            with contextlib.ExitStack() as stack:
                stacks = {
                    name: stack.enter_context(
                        serving("gateway", _file(name, backend, model, redis, work), _PATH, work=work)
                    )
                    for name in ("call", "hit")
                }
                found: dict[str, list[tuple[float, Load]]] = {name: [] for name in stacks}
                for turn in range(rounds + 1):
                    for name, one in stacks.items():
                        say(f"cache {backend}: round {turn}/{rounds} {name}")
                        measured = _cpu_us(one, body, seconds, work)
                        if turn:
                            found[name].append(measured)
            rows += _cache_rows(backend, found)
    return rows


def _cache_rows(backend: str, found: dict[str, list[tuple[float, Load]]]) -> list[Row]:
    cpu = {name: median(us for us, _ in pairs) for name, pairs in found.items()}
    p50 = {name: median(load.p50_ms for _, load in pairs) for name, pairs in found.items()}
    name = f"cache, {backend}"
    rows = [
        Row(name, f"{what} of a hit", f"{hit:{digits}} {unit}", f"call {call:{digits}} {unit}", hit / call, "≤ 0.33")
        for what, call, hit, unit, digits in (
            ("CPU", cpu["call"], cpu["hit"], "us", ".0f"),
            ("p50", p50["call"], p50["hit"], "ms", ".2f"),
        )
    ]
    if backend == "Memory":
        rows.append(Row(name, "p50 of a hit, memory", f"{p50['hit']:.2f} ms", "0.3 ms", p50["hit"] / 0.3, "≤ 1.0"))
    return rows


def _cpu_us(stack: Stack, body: bytes, seconds: float, work: Path) -> tuple[float, Load]:
    pids = tuple(set(stack.doors + stack.replicas))
    before = cpu_s(pids)
    load = drive(stack.url, body, connections=1, seconds=seconds, folder=work)
    if load.errors:
        raise RuntimeError(f"{load.errors} requests ended with an error")
    return (cpu_s(pids) - before) / (load.per_s * max(1, round(seconds))) * 1e6, load


def _file(name: str, backend: str, model: Path, redis: int, work: Path) -> Path:
    path = work / f"heavy-{name}-{backend.lower()}.yaml"
    cache = ""
    if name == "hit":
        secret = work / "secrets" / "bench-redis" / "url"
        secret.parent.mkdir(parents=True, exist_ok=True)
        secret.write_text(f"redis://127.0.0.1:{redis}")
        where = "{type: Redis, secretRef: {name: bench-redis, key: url}}" if backend == "Redis" else "{type: Memory}"
        cache = f"  cache: {{ttl: 10m, backend: {where}}}\n"
    path.write_text(
        f"apiVersion: plimsoll.dev/v1alpha1\nkind: ModelService\nmetadata: {{name: heavy}}\nspec:\n"
        f"  model: {{path: {model}}}\n  budget: {{latency: {{p99: 100ms}}}}\n  batching: {{maxSize: 1}}\n{cache}"
    )
    return path


@contextlib.contextmanager
def _redis(work: Path) -> Iterator[int]:
    """A Redis of its own beside the load; yields its port."""
    port = free_port()
    arguments = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with (work / "redis.log").open("wb") as log:
        process = subprocess.Popen([*on_core(LOAD_CORE), *arguments, "--dir", str(work)], stdout=log, stderr=log)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(10)

"""Plimsoll beside what it is compared with, in one run on one machine: `make bench`, or

    python bench/run.py [--only overload,fairness] [--rounds 5] [--seconds 2] [--json FILE] [--write-docs]
    python bench/run.py --only overload --soak 10

All servers of a part run for the whole part and take turns under load; figures are medians over the rounds.
"""

import argparse
import contextlib
import http.client
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

from fairness import fairness_part, one_by_one
from features import cache_part, feature_part
from freeze import freeze_part
from generator import generator_part
from lasting import soak_part, step_part
from load import Load, drive
from models import make
from overload import heavy, overload_part, sleepy
from refusals import refusal_part
from servers import LOAD_CORE, SERVER_CORE, free_port, nginx_config, on_core, python, running
from startup import measure_startup
from table import Row, as_json, markdown, show, write_into

HERE = Path(__file__).parent
WORK = HERE / ".work"
# Two tables, and the pages that have them.
SPEED = ("replica", "gateway", "start")
LIMITS = ("overload", "fairness", "freeze", "features", "generator")
PARTS = SPEED + LIMITS
PAGES = (
    ("bench", SPEED, ("README.md", "docs/benchmarks.md")),
    ("bench-limits", LIMITS, ("docs/benchmarks.md",)),
)
SLEEPY = HERE / "peers/sleepy.py"
SAMPLE = [(i * 7) % 17 for i in range(1, 65)]
BODY = json.dumps(
    {"inputs": [{"name": "x", "shape": [1, 64], "datatype": "FP32", "data": [float(value) for value in SAMPLE]}]},
    separators=(",", ":"),
).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, comma separated, of {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--soak", type=float, default=0, metavar="MINUTES", help="overload: watch memory for so long")
    parser.add_argument(
        "--quick", action="store_true", help="one short round of little: does it run? Figures mean nothing"
    )
    parser.add_argument("--json", type=Path, help="also write the rows there")
    parser.add_argument(
        "--write-docs", action="store_true", help="put the tables into README.md and docs/benchmarks.md"
    )
    options = parser.parse_args()
    if unknown := set(options.only.split(",")) - set(PARTS):
        parser.error(f"--only {', '.join(sorted(unknown))}: the parts are {', '.join(PARTS)}")
    if options.quick:
        options.rounds, options.seconds = 1, 0.5
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}; load: {load_tool()}")
    models = make(WORK / "models")
    parts: dict[str, Callable[[], list[Row]]] = {
        "replica": lambda: replica_part(models, options.rounds, options.seconds),
        "gateway": lambda: gateway_part(options.rounds, options.seconds),
        "start": lambda: measure_startup(models["digits"], WORK, options.rounds),
        "generator": lambda: generator_part(WORK, BODY, seconds=options.seconds, say=progress),
        "fairness": lambda: [
            *fairness_part(one_by_one(SLEEPY), WORK, rounds=half(options), seconds=options.seconds, say=progress),
            *fairness_part(sleepy(SLEEPY), WORK, rounds=half(options), seconds=options.seconds, say=progress, bar=""),
        ],
        "freeze": lambda: freeze_part(
            sleepy(SLEEPY), WORK, rounds=half(options), seconds=options.seconds, say=progress
        ),
        "features": lambda: [
            *feature_part(WORK, BODY, rounds=options.rounds, seconds=options.seconds, say=progress),
            *cache_part(models["heavy"], BODY, WORK, rounds=half(options), seconds=options.seconds, say=progress),
        ],
        "overload": lambda: overload_parts(models, options),
    }
    found = {name: parts[name]() for name in options.only.split(",")}
    rows = [row for part in found.values() for row in part]
    print(show(rows))
    if options.write_docs:
        write_docs(found)
    if options.json:
        options.json.write_text(json.dumps(as_json(rows), indent=2))


def write_docs(found: dict[str, list[Row]]) -> None:
    for name, parts, pages in PAGES:
        if not set(parts) <= set(found):
            print(f"{', '.join(pages)}: left as it was, for its table has the parts {', '.join(parts)}")
            continue
        for page in pages:
            write_into(HERE.parent / page, name, markdown([row for part in parts for row in found[part]]))


def load_tool() -> str:
    return "wrk" if shutil.which("wrk") else "bench/client.py (install wrk for comparable figures)"


def rounds_of(
    urls: dict[str, str], rounds: int, seconds: float, connections: list[int]
) -> dict[tuple[str, int], list[Load]]:
    """Every server at every number of connections, `rounds` times, taking turns."""
    results: dict[tuple[str, int], list[Load]] = {}
    for turn in range(rounds + 1):
        for count in connections:
            for name, url in urls.items():
                progress(f"round {turn}/{rounds}  {name}, {count} connections")
                load = drive(url, BODY, connections=count, seconds=seconds if turn else 1, folder=WORK)
                if load.errors:
                    raise RuntimeError(f"{name} answered {load.errors} requests with an error")
                if turn:  # the first warms everybody up
                    results.setdefault((name, count), []).append(load)
    progress("")
    return results


def progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def mid(loads: list[Load], what: str) -> float:
    return median(getattr(load, what) for load in loads)


# --- the replica against FastAPI -----------------------------------------------------------------------------------


def service_file(name: str, model: Path) -> Path:
    path = WORK / f"{name}.yaml"
    path.write_text(
        f"apiVersion: plimsoll.dev/v1alpha1\nkind: ModelService\nmetadata: {{name: {name}}}\n"
        f"spec:\n  model: {{path: {model}}}\n  budget: {{latency: {{p99: 100ms}}}}\n"
    )
    return path


def replica_part(models: dict[str, Path], rounds: int, seconds: float) -> list[Row]:
    rows: list[Row] = []
    for name, model in models.items():
        counts = [1, 32] if name == "digits" else [32, 64]
        with contextlib.ExitStack() as stack:
            urls = {}
            for who in ("fastapi", "plimsoll"):
                port = free_port()
                command = python(str(HERE / "peers/fastapi_server.py"), str(model), str(port))
                if who == "plimsoll":
                    command = python("-m", "plimsoll", "serve", str(service_file(name, model)), "--port", str(port))
                stack.enter_context(running(command, port, log=WORK / f"{who}.log", path="/v2/health/ready"))
                urls[who] = f"http://127.0.0.1:{port}/v2/models/{name}/infer"
            check_same_answers(list(urls.values()))
            results = rounds_of(urls, rounds, seconds, counts)
        rows += digits_rows(results) if name == "digits" else heavy_rows(results, bare_session(model))
    return rows


def check_same_answers(urls: list[str]) -> None:
    answers = []
    for url in urls:
        host, _, path = url.removeprefix("http://").partition("/")
        connection = http.client.HTTPConnection(host, timeout=10)
        connection.request("POST", "/" + path, BODY, {"content-type": "application/json"})
        answers.append(np.array(json.load(connection.getresponse())["outputs"][0]["data"]))
    for other in answers[1:]:
        np.testing.assert_allclose(answers[0], other, rtol=1e-5)


def digits_rows(results: dict[tuple[str, int], list[Load]]) -> list[Row]:
    ours, theirs = (mid(results[who, 32], "per_s") for who in ("plimsoll", "fastapi"))
    p50, their_p50 = (mid(results[who, 1], "p50_ms") for who in ("plimsoll", "fastapi"))
    return [
        Row("digits", "requests/s, 32 connections", f"{ours:,.0f}", f"FastAPI {theirs:,.0f}", ours / theirs, "≥ 8.0"),
        Row("digits", "p50, 1 connection", f"{p50:.2f} ms", f"FastAPI {their_p50:.2f} ms", p50 / their_p50, "≤ 0.6"),
    ]


def heavy_rows(results: dict[tuple[str, int], list[Load]], bare: float) -> list[Row]:
    ours, theirs = (mid(results[who, 32], "per_s") for who in ("plimsoll", "fastapi"))
    at_64, p99 = mid(results["plimsoll", 64], "per_s"), mid(results["plimsoll", 64], "p99_ms")
    return [
        Row("heavy", "requests/s, 32 connections", f"{ours:,.0f}", f"FastAPI {theirs:,.0f}", ours / theirs, "≥ 6.0"),
        Row("heavy", "requests/s, 64 connections", f"{at_64:,.0f}", f"bare session {bare:,.0f}", at_64 / bare, "≥ 0.5"),
        Row("heavy", "p99 ms, 64 connections", f"{p99:.1f} ms", "35 ms", p99 / 35, "≤ 1.0"),
    ]


def bare_session(model: Path) -> float:
    """Items a second of the model alone at batches of 64 on the server's core: what one core could do at most."""
    code = (
        "import sys, time, numpy, onnxruntime as o\n"
        "options = o.SessionOptions(); options.intra_op_num_threads = 1\n"
        "s = o.InferenceSession(sys.argv[1], options); x = numpy.random.rand(64, 64).astype('f4')\n"
        "rates = []\n"
        "for _ in range(5):\n"
        "    t, n = time.perf_counter(), 0\n"
        "    while time.perf_counter() - t < 0.5: s.run(None, {'x': x}); n += 1\n"
        "    rates.append(64 * n / (time.perf_counter() - t))\n"
        "print(sorted(rates)[2])\n"
    )
    done = subprocess.run(
        [*on_core(SERVER_CORE), *python("-c", code, str(model))], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


# --- beyond the capacity ---------------------------------------------------------------------------------------------


def half(options: argparse.Namespace, part: int = 2) -> int:
    """Rounds of the parts whose rounds are long: half of `--rounds`, or a `part`-th."""
    return max(1, options.rounds // part)


def overload_parts(models: dict[str, Path], options: argparse.Namespace) -> list[Row]:
    """Two rounds of `--rounds 5`: under three minutes."""
    rounds, seconds = half(options), options.seconds
    waiting, busy = sleepy(SLEEPY), heavy(models["heavy"], BODY)
    if options.quick:
        waiting = replace(waiting, times=(3,), callers=(32,))
        return [
            *overload_part([waiting], WORK, rounds=1, seconds=seconds, say=progress),
            *step_part(waiting, WORK, rounds=1, seconds=2 * seconds, say=progress),
        ]
    if options.soak:
        return soak_part(waiting, WORK, minutes=options.soak, say=progress)
    return [
        *overload_part([waiting, busy], WORK, rounds=rounds, seconds=seconds, say=progress),
        *step_part(waiting, WORK, rounds=half(options, 4), seconds=seconds, say=progress),
        *refusal_part(service_file("digits", models["digits"]), BODY, WORK, seconds=seconds, say=progress),
    ]


# --- the gateway against other proxies -----------------------------------------------------------------------------


def gateway_part(rounds: int, seconds: float) -> list[Row]:
    if shutil.which("nginx") is None:
        print("gateway: skipped, nginx is missing (Debian: apt-get install nginx)")
        return []
    fixed, proxy, aio, ours = (free_port() for _ in range(4))
    answer = '{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[1,10],"data":[0,0,0,0,0,0,0,0,0,1]}]}'
    server = (
        f"server {{ listen 127.0.0.1:{fixed}; location / {{ default_type application/json; return 200 '{answer}'; }} }}"
    )
    pool = f"upstream fixed {{ server 127.0.0.1:{fixed}; keepalive 128; keepalive_requests 100000000; }}"
    passing = (
        f"server {{ listen 127.0.0.1:{proxy}; location / {{ proxy_pass http://fixed; proxy_http_version 1.1;"
        ' proxy_set_header Connection ""; } }'
    )
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        enter(running(nginx_config(WORK, "fixed", server), fixed, core=LOAD_CORE, log=WORK / "fixed.log"))
        enter(running(nginx_config(WORK, "proxy", passing, pool), proxy, log=WORK / "proxy.log"))
        command = python(str(HERE / "peers/aiohttp_proxy.py"), str(fixed), str(aio))
        enter(running(command, aio, log=WORK / "aiohttp.log"))
        command = python(str(HERE / "gateway_server.py"), f"tcp:127.0.0.1:{fixed}", str(ours))
        enter(running(command, ours, log=WORK / "gateway.log", path="/v2/health/ready"))
        ports = {"aiohttp": aio, "nginx": proxy, "plimsoll": ours}
        urls = {name: f"http://127.0.0.1:{port}/v2/models/bench/infer" for name, port in ports.items()}
        time.sleep(0.2)
        results = rounds_of(urls, rounds, seconds, [32])
    rate = {name: mid(results[name, 32], "per_s") for name in urls}
    figure = f"{rate['plimsoll']:,.0f}"
    return [
        Row(
            "gateway",
            "requests/s, 32 connections",
            figure,
            f"{name} {rate[name]:,.0f}",
            rate["plimsoll"] / rate[name],
            bar,
        )
        for name, bar in (("aiohttp", "≥ 4.0"), ("nginx", "≥ 0.8"))
    ]


if __name__ == "__main__":
    main()

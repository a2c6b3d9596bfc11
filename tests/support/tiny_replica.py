"""A replica without a model, for the suites of spawners and backends. What it does is told by `args`."""

import json
import logging
import os
import pathlib
import select
import signal
import sys
import time


def say(context, event, **more):
    os.write(context.status_fd, json.dumps({"event": event, **more}).encode() + b"\n")


def main(context):
    args = context.args
    print(f"hello from {args.get('replica', '?')}")
    how = args.get("how", "")
    if how == "raise":
        raise ValueError("the weights are missing")
    if how == "fail":
        print("line before the failure", file=sys.stderr)
        say(context, "failed", reason="the weights are missing", file="model.py", line=12)
        sys.exit(3)
    if how == "fail-once" and not os.path.exists(args["mark"]):
        os.mkdir(args["mark"])
        sys.exit(7)
    if how == "hang":
        print("loading for ever")
        time.sleep(1000)
    # A pipe, not an Event: a handler that sets what its own thread is about to wait for can hang for ever.
    told, tell_us = os.pipe()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if how == "stubborn" else lambda *_: os.write(tell_us, b"."))
    if how == "eat":
        hoard = bytearray(args["bytes"])
        hoard[::4096] = b"x" * len(hoard[::4096])
    say(context, "ready", address=args.get("listen", ""), pid=os.getpid())
    if how == "unready":
        say(context, "unready", reason="predict hangs")
    if how == "crash":
        time.sleep(args.get("after_s", 0.0))
        os._exit(9)
    while not select.select([told], [], [], args.get("report_s", 0.05))[0]:
        if how != "silent":
            say(context, "load", in_flight=2, queued=1, loop_lag_p99_s=0.001, rss_bytes=5, requests=7,
                service_time={"a_s": 0.004, "c_s": 0.001, "sd_s": 0.0, "samples": 12})  # fmt: skip
    say(context, "draining")
    time.sleep(args.get("drain_takes_s", 0.0))


def tell(context):
    """Says what kind of process it finds itself in."""
    import importlib

    fds = sorted(int(name) for name in os.listdir("/dev/fd") if os.path.exists(f"/dev/fd/{name}"))
    say(
        context, "told", pid=os.getpid(), pgid=os.getpgrp(), sid=os.getsid(0), ppid=os.getppid(), fds=fds,
        named=dict(context.fds), status_fd=context.status_fd, lifeline_fd=context.lifeline_fd,
        sigint=signal.getsignal(signal.SIGINT) == signal.SIG_IGN,
        sigterm=signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
        env={name: os.environ.get(name) for name in (*args_of(context, "env"), "OMP_NUM_THREADS")},
        cwd=os.getcwd(), cpus=sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [],
        modules=[name for name in args_of(context, "modules") if name in sys.modules],
        log_handlers=len(logging.getLogger().handlers), random=float(importlib.import_module("numpy").random.random()),
        comm=pathlib.Path("/proc/self/comm").read_text().strip() if sys.platform == "linux" else "",
    )  # fmt: skip
    for name, fd in context.fds.items():
        os.write(fd, name.encode())


def args_of(context, key):
    return context.args.get(key, ())


def parent(context):
    """Asks its own spawner for a worker, as a replica with `isolation: Process` does."""
    import asyncio

    from plimsoll.backends.local.spawners import spawner_for_workers
    from plimsoll.ports.spawner import ChildSpec

    async def run():
        spawner = await spawner_for_workers(context.args)
        spec = ChildSpec(entry="tiny_replica:main", args={"how": "stubborn"}, env=context.args["env"])
        told = asyncio.Event()
        child = await spawner.spawn(spec, on_status=lambda _: told.set(), on_exit=lambda _: None)
        await told.wait()
        say(context, "ready", address="", pid=os.getpid(), worker=child.pid, worker_group=os.getpgid(child.pid))
        await asyncio.sleep(1000)

    asyncio.run(run())


def sleepy_shell(context):
    """Starts a process of its own, as a model's author might, and waits to be killed."""
    import subprocess

    process = subprocess.Popen(["sleep", "1000"])
    say(context, "ready", address="", pid=os.getpid(), worker=process.pid)
    time.sleep(1000)

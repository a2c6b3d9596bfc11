"""How much `plimsoll load` drives from one core: the highest rate at which it is late by at most 5 ms (p99)."""

import shutil
from collections.abc import Callable
from pathlib import Path

from open_loop import judge
from servers import free_port, nginx_config, running
from table import Row

_RATES = (5_000, 7_500, 10_000, 12_500, 15_000)
_LAG_MS = 5.0
_BAR = 5_000


def generator_part(work: Path, body: bytes, *, seconds: float, say: Callable[[str], None]) -> list[Row]:
    if shutil.which("nginx") is None:
        print("generator: skipped, nginx is missing (Debian: apt-get install nginx)")
        return []
    port = free_port()
    server = f"server {{ listen 127.0.0.1:{port}; location / {{ return 200 '{{}}'; }} }}"
    driven, lag = 0, 0.0
    with running(nginx_config(work, "echo", server), port, log=work / "echo.log"):
        for rate in _RATES:
            say(f"plimsoll load at {rate}/s")
            run = judge(f"http://127.0.0.1:{port}/", body, rate, 2 * seconds)
            if run.lag_p99_ms > _LAG_MS or run.count("ok") != run.offered:
                break
            driven, lag = rate, run.lag_p99_ms
    against = f"{_BAR:,}/s; its lag p99 {lag:.1f} ms"
    return [Row("plimsoll load", "one core drives", f"{driven:,}/s", against, driven / _BAR, "≥ 1.0")]

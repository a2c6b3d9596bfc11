"""What operator, controller and gateway do alike as a pod's process: logs, the loop, a last word where it failed."""

import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from plimsoll.app.child_host import run_loop
from plimsoll.app.pod_replica import EXIT_MISUSED, leave_word
from plimsoll.backends.local.child import EXIT_FAILED, finish
from plimsoll.core.errors import HostError, PlimsollError
from plimsoll.telemetry.logs import configure


def run_in_pod(run: Callable[[Mapping[str, str]], Coroutine[Any, Any, int]], **always: str) -> None:
    """Ends this process with what `run(environment)` returns, else with EXIT_FAILED for what may be better the next
    time and EXIT_MISUSED for what a person must change. `always`: fields of each log line."""
    environment = os.environ
    try:
        configure("json", environment.get("PLIMSOLL_LOG_LEVEL") or "info", stream=sys.stdout, always=always)
        finish(run_loop(run(environment)))
    except PlimsollError as error:
        print(f"plimsoll: {error}", file=sys.stderr)  # noqa: T201 - the last word
        leave_word(environment, str(error))
        finish(EXIT_FAILED if isinstance(error, HostError) else EXIT_MISUSED)

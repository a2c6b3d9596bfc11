"""How the local backend behaves; the defaults are what `plimsoll up` uses."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LocalSettings:
    pin: bool = True  # replicas to cores of their own, where there are enough (`cores`)
    restart_first_s: float = 0.5  # wait before a replica that ended is started again; doubles
    restart_cap_s: float = 30.0
    restart_reset_s: float = 120.0  # having run this long, it begins with `restart_first_s` again
    drain_margin_s: float = 1.0  # over the template's `drain_s`: a replica serves on for 0.5 s before it drains
    abandon_s: float = 1.0  # a replica still starting has no requests: this long from SIGTERM to SIGKILL
    unready_s: float = 5.0  # one that said it failed or can't serve ends by itself within this, or is killed
    silent_s: float = 5.0  # no report from a ready replica: said in its `reason`
    memory_check_s: float = 0.25
    watch_s: float = 1.0  # logs and silence
    log_max_bytes: int = 10 * 2**20  # then the log goes on from empty; one old file is kept as `.1`
    log_tail_lines: int = 20
    logs_kept: int = 20  # of ended replicas, a service

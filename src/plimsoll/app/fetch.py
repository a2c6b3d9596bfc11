"""A model into a pod: `python -m plimsoll.app.fetch URI --digest D --to DIR [--cache DIR] [--credentials DIR]`.

    URI --digest D --check      what lies at file://PATH has that digest; nothing is fetched
    --prefetch FILE --cache DIR keeps the models of a list ready, and reads the list again when it changes

Progress as JSON lines on standard error. Why it failed: exit code, and one line in the termination log, which the
operator shows in the service's conditions.
"""

import argparse
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path

from plimsoll.backends.kubernetes.artifacts.archive import UnsafeArchive
from plimsoll.backends.kubernetes.artifacts.fetching.cache import ModelCache, fetch_through
from plimsoll.backends.kubernetes.artifacts.fetching.credentials import read_credentials
from plimsoll.backends.kubernetes.artifacts.fetching.fetch import Fetched, Fetcher, check_model
from plimsoll.backends.kubernetes.artifacts.fetching.prefetch import Keeper, Wanted, read_wanted
from plimsoll.backends.kubernetes.artifacts.fetching.space import NoRoom
from plimsoll.backends.kubernetes.artifacts.listing import DigestMismatch, is_digest
from plimsoll.backends.kubernetes.artifacts.references import parse_uri
from plimsoll.backends.kubernetes.artifacts.web import SILENT_S, Refused, Unreachable, Web
from plimsoll.core.errors import PlimsollError, UserError
from plimsoll.core.units import parse_quantity
from plimsoll.telemetry.logs import configure

_log = logging.getLogger("plimsoll.fetch")
TERMINATION_LOG = Path("/dev/termination-log")
_MESSAGE_MAX = 2000  # the kubelet keeps 4096 bytes


class Exit(IntEnum):
    """What the caller could do: mend the spec (2, 3, 6), give room (4), wait (5)."""

    DONE = 0
    FAILED = 1
    WRONG = 2  # the URI, the arguments, the credentials: refused, or no such thing
    DIGEST = 3
    NO_ROOM = 4
    UNREACHABLE = 5
    UNSAFE = 6


def exit_of(error: BaseException) -> Exit:
    match error:
        case DigestMismatch():
            return Exit.DIGEST
        case NoRoom():
            return Exit.NO_ROOM
        case Unreachable():
            return Exit.UNREACHABLE
        case UnsafeArchive():
            return Exit.UNSAFE
        case UserError() | Refused():
            return Exit.WRONG
        case _:
            return Exit.FAILED


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    configure("json", always={"component": "fetch"})
    # PID 1 of a container ignores SIGTERM unless told. At once: what was fetched stays for the next start, and threads
    # may wait for a silent peer.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    try:
        if args.prefetch is not None:
            return _prefetch(args)
        _once(args)
        return Exit.DONE
    except (PlimsollError, OSError) as error:
        _tell(str(error), args.termination_log)
        return exit_of(error)


def _once(args: argparse.Namespace) -> Fetched | None:
    if args.digest and not is_digest(args.digest):
        raise UserError(f"--digest {args.digest}: expected sha256: and 64 hex digits")
    if args.check:
        reference = parse_uri(args.uri)
        if reference.scheme != "file" or not args.digest:
            raise UserError("--check needs a file:// URI and a --digest")
        check_model(Path(reference.path), args.digest)
        return None
    cache = None if args.cache is None else ModelCache(args.cache, _bytes(args.cache_size))
    return fetch_through(cache, args.uri, args.digest, args.to, _fetcher(args), note=lambda _: None)


def _fetcher(args: argparse.Namespace) -> Fetcher:
    return Fetcher(Web(silent_s=args.silent), read_credentials(args.credentials), tries=args.tries)


def _prefetch(args: argparse.Namespace) -> int:
    """Until SIGTERM; with --once until the list has been gone through once, 1 where a model failed."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    keeper = Keeper(ModelCache(args.cache, _bytes(args.cache_size)), _fetcher(args))
    wanted: list[Wanted] = []
    while not stop.is_set():
        found = read_wanted(args.prefetch)
        wanted = wanted if found is None else found
        failed = keeper.work(wanted, time.monotonic())
        if args.once:
            return Exit.FAILED if failed or found is None else Exit.DONE
        stop.wait(args.every)
    return Exit.DONE


def _bytes(text: str | None) -> int | None:
    return None if text is None else int(parse_quantity(text))


def _tell(message: str, file: Path) -> None:
    _log.error("%s", message)
    # Made by the kubelet; elsewhere there is none.
    with contextlib.suppress(OSError):
        if file != TERMINATION_LOG or file.exists():
            file.write_text(message.encode()[:_MESSAGE_MAX].decode(errors="ignore"), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m plimsoll.app.fetch", description="Fetch a model, checked.")
    parser.add_argument("uri", nargs="?", help="configmap, file, pvc, http, https, oci, s3, gs or hf")
    parser.add_argument("--digest", default="", help="sha256:…; left out: what is there is taken")
    parser.add_argument("--to", type=Path, help="the model's folder")
    parser.add_argument("--cache", type=Path, help="a folder of models that several pods share")
    parser.add_argument("--cache-size", help="the most that the cache holds: 100Gi")
    parser.add_argument("--credentials", type=Path, help="a mounted Secret")
    parser.add_argument("--check", action="store_true", help="only check what lies at a file:// URI")
    parser.add_argument("--prefetch", type=Path, metavar="FILE", help="keep the models of this list in the cache")
    parser.add_argument("--every", type=float, default=30.0, help="seconds between two looks at the list")
    parser.add_argument("--once", action="store_true", help="with --prefetch: go through the list once")
    parser.add_argument("--silent", type=float, default=SILENT_S, help="seconds without a byte that mean a dead peer")
    parser.add_argument("--tries", type=int, default=6, help="in a row without a byte")
    parser.add_argument("--termination-log", type=Path, default=TERMINATION_LOG)
    return parser


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    found = parser.parse_args(argv)
    if found.prefetch is not None:
        if found.cache is None:
            parser.error("--prefetch needs --cache")
    elif found.uri is None or (found.to is None and not found.check):
        parser.error("expected a URI and --to DIR")
    return found


if __name__ == "__main__":
    os.umask(0o022)  # another user of the pod reads what is fetched
    sys.exit(main())

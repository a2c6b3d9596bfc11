"""The options of `plimsoll load`: what each is called, and what its text means."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plimsoll.cli import completion

if TYPE_CHECKING:
    from plimsoll.insight.traffic import Gaps
    from plimsoll.load import Record

Target = Annotated[
    str,
    typer.Argument(
        help="A running service, or http(s)://HOST:PORT/PATH.",
        metavar="NAME|URL",
        autocompletion=completion.service_names,
    ),
]
Rate = Annotated[float | None, typer.Option(min=0, help="Requests a second. [default: 100]", show_default=False)]
Ramp = Annotated[
    str | None, typer.Option(metavar="FROM:TO", help="A rate that rises along a line: 10:2000.", show_default=False)
]
TraceFile = Annotated[
    str | None, typer.Option(metavar="FILE", help="Recorded traffic: CSV or JSON lines.", show_default=False)
]
Speedup = Annotated[float, typer.Option(help="Play a trace that much faster.")]
Scale = Annotated[float, typer.Option(help="That many times a trace's requests.")]
Duration = Annotated[
    str | None,
    typer.Option("--for", help="How long: 60s, 5m. [default: 30s, or all of a trace]", show_default=False),
]
Kind = Annotated[
    str | None,
    typer.Option(
        metavar="poisson|gamma:CV|uniform",
        help="How regular they come; gamma:4 in bursts. [default: poisson]",
        show_default=False,
    ),
]
Body = Annotated[
    str | None,
    typer.Option(metavar="FILE|-|JSON", help="What is sent. [default: the service's example]", show_default=False),
]
Headers = Annotated[list[str] | None, typer.Option(metavar="'NAME: VALUE'", help="A header; repeatable.")]
ApiKey = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Send the API key that stands in this file: as its tenant.", show_default=False),
]
Tenant = Annotated[
    str | None,
    typer.Option(
        help="Name a tenant to a replica's own socket (--unix-socket). A gateway believes only keys.",
        show_default=False,
    ),
]
Priority = Annotated[int | None, typer.Option(help="Higher goes first, as far as the tenant may.", show_default=False)]
UnixSocket = Annotated[
    str | None, typer.Option(metavar="PATH", help="Connect there; the URL names host and path.", show_default=False)
]
Ca = Annotated[
    str | None,
    typer.Option(
        "--ca", metavar="FILE", help="Whose certificates to believe. [default: this machine's]", show_default=False
    ),
]
Insecure = Annotated[bool, typer.Option("--insecure", help="Believe any certificate.")]
Connections = Annotated[int, typer.Option(min=1, max=60_000, help="Open at most.")]
Timeout = Annotated[
    str | None,
    typer.Option(
        help="Without an answer for so long: hung. [default: the service's timeout + 5s; a URL's 30s]",
        show_default=False,
    ),
]
BudgetP99 = Annotated[
    str | None, typer.Option(help="A p99 to hold it against. [default: the service's]", show_default=False)
]
Seed = Annotated[int | None, typer.Option(help="Repeat a run's arrivals. [default: drawn]", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="The report as JSON on standard output.")]
Html = Annotated[
    str | None, typer.Option(metavar="FILE", help="The report as a page that opens offline.", show_default=False)
]
Requests = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="A CSV line for each request: time, outcome, latency.", show_default=False),
]
FailOnBreach = Annotated[
    bool, typer.Option("--fail-on-breach", help="End with 1 where the budget was broken, or requests hung.")
]


def mistake(text: str) -> Exception:
    from plimsoll.core.errors import UserError

    return UserError(text)


def ramp_of(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    first, colon, last = text.partition(":")
    try:
        rates = float(first), float(last)
    except ValueError:
        rates = (-1.0, -1.0)
    if not colon or not all(0 <= rate < 1e7 for rate in rates):
        raise mistake(f"--ramp {text!r}; write the first and the last rate: 10:2000")
    return rates


def gaps_of(text: str | None) -> "Gaps | None":
    from plimsoll.insight.traffic import parse_gaps

    try:
        return None if text is None else parse_gaps(text)
    except ValueError as error:
        raise mistake(f"--arrivals {error}") from None


def seconds_of(option: str, text: str | None) -> float | None:
    from plimsoll.core.units import parse_duration

    if text is None:
        return None
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise mistake(f"{option}: {error}") from None
    if seconds <= 0:
        raise mistake(f"{option}: {text!r} is no time at all")
    return seconds


def positive(option: str, value: float) -> float:
    if not 0 < value < 1e9:
        raise mistake(f"{option} {value:g}; expected a number above 0")
    return value


def body_of(text: str | None) -> bytes | None:
    if text is None:
        return None
    if text == "-":
        return sys.stdin.buffer.read()
    if text.lstrip()[:1] in {"{", "[", '"'}:
        return text.encode()
    try:
        return Path(text).read_bytes()
    except OSError as error:
        raise mistake(f"--body {text}: {error.strerror}; name a file, - or JSON") from None


def identity(key_file: str | None, tenant: str | None, priority: int | None) -> Iterator[str]:
    """Headers. A key comes from a file: what stands on a command line stands in the process list and the history."""
    if key_file is not None:
        try:
            key = Path(key_file).read_text(encoding="ascii").strip()
        except OSError as error:
            raise mistake(f"--api-key-file {key_file}: {error.strerror}") from None
        except UnicodeDecodeError:
            key = ""
        if not key or not key.isprintable() or len(key.split()) != 1:
            raise mistake(f"--api-key-file {key_file}: expected one key in one line, and nothing else")
        yield f"authorization: Bearer {key}"
    if tenant is not None:
        yield f"plimsoll-tenant: {tenant}"
    if priority is not None:
        yield f"plimsoll-priority: {priority}"


@contextmanager
def recorded(path: str | None) -> "Iterator[Record | None]":
    """One line a request, in the order of their ends; 1.5 us each."""
    if path is None:
        yield None
        return
    writable("--requests", path)
    with open(path, "w", encoding="utf-8", buffering=1 << 20) as file:
        file.write("at_s,outcome,latency_ms,queue_ms,compute_ms\n")
        write = file.write

        def record(at_s: float, outcome: str, latency_s: float | None, queue_s: float, compute_s: float) -> None:
            told = "," if compute_s < 0.0 else f"{queue_s * 1000:.3f},{compute_s * 1000:.3f}"
            write(f"{at_s:.6f},{outcome},{'' if latency_s is None else f'{latency_s * 1000:.3f}'},{told}\n")

        yield record


def drawn() -> int:
    from random import SystemRandom

    return SystemRandom().getrandbits(31)


def writable(option: str, path: str | None) -> Path | None:
    """Found out before the run, not after it."""
    if path is None:
        return None
    try:
        with open(path, "a", encoding="utf-8"):
            return Path(path)
    except OSError as error:
        raise mistake(f"{option} {path}: {error.strerror}") from None

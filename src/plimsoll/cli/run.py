"""Commands that run something in this terminal: up, serve."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plimsoll.cli.console import Console, out
from plimsoll.cli.services import print_event

if TYPE_CHECKING:
    from plimsoll.app.up import Greeting


class _Printer:
    """What `up` has to say, as lines (see `app.up.Reporter`)."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = 0

    def names(self, names: list[str]) -> None:
        self._width = max(map(len, names), default=0)

    def event(self, event: Mapping[str, Any]) -> None:
        print_event(self._console, event, width=self._width)

    def note(self, service: str, text: str) -> None:
        name = f"{self._console.paint(f'{service:{self._width}}', 'bold')}   " if service else ""
        self._console.line(f"  {name}{self._console.paint(text, 'dim')}")

    def trouble(self, text: str) -> None:
        self._console.line(f"  {text}", "yellow")

    def greeting(self, greeting: "Greeting") -> None:
        for line in greeting.tries:
            self._console.line(f"  try:   {self._console.paint(line, 'cyan')}")
        self._console.line(f"  page:  {greeting.admin}    stop: Ctrl-C")


_Paths = Annotated[
    list[str] | None,
    typer.Argument(
        help="Service files, or folders of them; left out: service.yaml and others in this folder.", metavar="FILE|DIR"
    ),
]
_AdminPort = Annotated[
    int | None,
    typer.Option(
        min=0, max=65535, metavar="PORT", help="Where the admin API listens. [default: port + 10]", show_default=False
    ),
]
_Gateways = Annotated[
    int,
    typer.Option(
        min=1,
        max=64,
        metavar="N",
        help="Gateway processes on the one port, for more cores; connections are spread over them, not requests.",
    ),
]
_TlsCert = Annotated[
    str | None, typer.Option(metavar="FILE", help="The certificate to show and its chain, in PEM.", show_default=False)
]
_TlsKey = Annotated[str | None, typer.Option(metavar="FILE", help="The certificate's key, in PEM.", show_default=False)]
_TlsClientCa = Annotated[
    str | None, typer.Option(metavar="FILE", help="Who signs the certificates of clients, in PEM.", show_default=False)
]
_TlsClientCert = Annotated[
    str,
    typer.Option(metavar="required|optional", help="With --tls-client-ca: whether a client has to show a certificate."),
]
_Audit = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="Write an audit log of each gateway into this folder.", show_default=False),
]
_Secrets = Annotated[
    str | None,
    typer.Option(
        metavar="DIR", help="Where secrets are: DIR/NAME/KEY. [default: secrets/ beside the file]", show_default=False
    ),
]
_UpCores = Annotated[
    float | None,
    typer.Option(
        "--cores",
        min=0.1,
        metavar="N",
        help="Cores that scaling may give to replicas. [default: this machine's, less one of four or more]",
        show_default=False,
    ),
]
_Record = Annotated[
    str | None,
    typer.Option(
        "--record",
        metavar="DIR",
        help="Write what each second's scaling saw and decided into this folder.",
        show_default=False,
    ),
]
_StartMethod = Annotated[
    str,
    typer.Option(metavar="fork|spawn", help="How replicas start. [default: fork, on macOS spawn]", show_default=False),
]


def up(
    paths: _Paths = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="Where the gateway listens; 0 takes a free one.")
    ] = 8080,
    admin_port: _AdminPort = None,
    watch: Annotated[bool, typer.Option("--watch/--no-watch", help="Apply files as they are saved.")] = True,
    gateways: _Gateways = 1,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="Where the gateway listens; 0.0.0.0: for other machines, too.")
    ] = "127.0.0.1",
    tls_cert: _TlsCert = None,
    tls_key: _TlsKey = None,
    tls_client_ca: _TlsClientCa = None,
    tls_client_cert: _TlsClientCert = "required",
    audit: _Audit = None,
    secrets: _Secrets = None,
    cores: _UpCores = None,
    record: _Record = None,
    start_method: _StartMethod = "",
) -> None:
    """Serve on this machine, behind one gateway, until Ctrl-C.

    Files that are saved meanwhile take over by themselves, without a failed request.
    """
    from pathlib import Path

    from plimsoll.app.gateways import TlsFiles
    from plimsoll.app.up import UpOptions, run_up
    from plimsoll.core.errors import UserError

    tls = None
    if (pair := _tls_pair(tls_cert, tls_key, tls_client_ca)) is not None:
        ca = Path(tls_client_ca) if tls_client_ca else None
        tls = TlsFiles(Path(pair[0]), Path(pair[1]), ca, optional=tls_client_cert == "optional")
    if tls_client_cert not in {"required", "optional"}:
        raise UserError(f"--tls-client-cert is {tls_client_cert!r}; expected required or optional")
    if start_method not in {"", "fork", "spawn"}:
        raise UserError(f"--start-method is {start_method!r}; expected fork or spawn")
    options = UpOptions(
        paths=tuple(Path(path) for path in paths or []),
        host=host,
        port=port,
        admin_port=admin_port,
        watch=watch,
        gateways=gateways,
        start_method=start_method or ("spawn" if sys.platform == "darwin" else "fork"),
        tls=tls,
        audit=Path(audit) if audit else None,
        secrets=Path(secrets).absolute() if secrets else None,
        cores=cores,
        record=Path(record) if record else None,
    )
    raise typer.Exit(run_up(options, _Printer(out())))


def serve(
    path: Annotated[str, typer.Argument(help="A service file.", metavar="FILE")],
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="PORT", help="Where it listens.")] = 8080,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="The address to listen on: 0.0.0.0 in a container.")
    ] = "127.0.0.1",
    service: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Which service, where the file holds several.", show_default=False),
    ] = None,
    tls_cert: _TlsCert = None,
    tls_key: _TlsKey = None,
    tls_client_ca: _TlsClientCa = None,
) -> None:
    """Serve one replica in this process, without a gateway.

    It can be a container's first process: SIGTERM drains, and so does Ctrl-C.
    """
    from pathlib import Path

    from plimsoll.app.serve import run_serve
    from plimsoll.wire.http1 import TlsSettings

    console, tls = out(), None
    if (pair := _tls_pair(tls_cert, tls_key, tls_client_ca)) is not None:
        tls = TlsSettings(*pair, tls_client_ca)
    raise typer.Exit(run_serve(Path(path), host=host, port=port, service=service, say=console.line, tls=tls))


def _tls_pair(cert: str | None, key: str | None, client_ca: str | None) -> tuple[str, str] | None:
    """Raises UserError where one of the two is missing."""
    from plimsoll.core.errors import UserError

    if cert is not None and key is not None:
        return cert, key
    if cert is not None or key is not None:
        raise UserError("--tls-cert and --tls-key go together")
    if client_ca is not None:
        raise UserError("--tls-client-ca needs --tls-cert and --tls-key")
    return None

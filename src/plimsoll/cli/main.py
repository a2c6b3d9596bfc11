"""The command `plimsoll`: the list of commands, and what becomes of an error.

Commands import their work when they run: `--help` costs Python, typer and these few files.
Exit codes: 0 done; 1 the thing asked about failed (a roll-out, an example); 2 mend a file or the command line;
130 Ctrl-C.
"""

import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from plimsoll import __version__
from plimsoll.cli import (
    adopt,
    audit,
    build,
    by_hand,
    completion,
    files,
    install,
    load,
    pack,
    plan,
    preflight,
    profile,
    render,
    run,
    services,
    tenants,
)
from plimsoll.cli.console import err
from plimsoll.core.errors import HostError, UserError

app = typer.Typer(
    name="plimsoll",
    help="Serve AI models inside a budget.",
    epilog="Start with: plimsoll init python mood && cd mood && plimsoll up",
    rich_markup_mode=None,  # its rich help costs 100 ms a call
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"plimsoll {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Serve AI models inside a budget."""


def version() -> None:
    """Print the version."""
    _print_version(True)


# The order of `--help`: from an empty folder to a running service. With each command, examples of it.
_COMMANDS: dict[str, tuple[Callable[..., None], tuple[str, ...]]] = {
    "init": (files.init, ("plimsoll init python mood", "plimsoll init onnx flowers")),
    "up": (run.up, ("plimsoll up", "plimsoll up a.yaml b.yaml", "plimsoll up services/ --port 9000")),
    "serve": (run.serve, ("plimsoll serve service.yaml --host 0.0.0.0 --port 8080",)),
    "test": (files.run_examples, ("plimsoll test", "plimsoll test services/ --service mood --json")),
    "validate": (files.validate, ("plimsoll validate", "plimsoll validate services/ --json")),
    "schema": (files.schema, ("plimsoll schema > plimsoll.schema.json",)),
    "load": (
        load.load,
        ("plimsoll load mood --ramp 10:2000 --for 60s --html report.html", "plimsoll load mood --trace day.csv"),
    ),
    "profile": (profile.profile, ("plimsoll profile service.yaml", "plimsoll profile services/ mood --seconds 30")),
    "plan": (
        plan.plan,
        (
            "plimsoll plan service.yaml --trace yesterday.csv --fail-on-breach",
            "plimsoll plan --trace day.csv --service-time 4ms+1.5ms --p99 100ms --policies budget,hpa-rps,fixed:8",
        ),
    ),
    "pack": (
        pack.pack,
        (
            "plimsoll pack service.yaml | kubectl apply -n shop -f -",
            "plimsoll pack services/ --registry registry.example.com/models -o packed.yaml",
        ),
    ),
    "build": (
        build.build,
        ("plimsoll build service.yaml --tag registry.example.com/mood:1 > on-cluster.yaml",),
    ),
    "render": (
        render.render,
        ("plimsoll render service.yaml | kubectl apply -f -", "plimsoll render services/ -n shop --kubernetes 1.36"),
    ),
    "apply": (services.apply, ("plimsoll apply service.yaml", "plimsoll apply services/ --timeout 5m")),
    "status": (services.status, ("plimsoll status", "plimsoll status mood --watch", "plimsoll status --json")),
    "logs": (services.logs, ("plimsoll logs mood -f", "plimsoll logs mood --replica mood-7c9e41a-0 -n 20")),
    "events": (services.events, ("plimsoll events -f", "plimsoll events mood --json")),
    "scale": (by_hand.scale, ("plimsoll scale mood 3", "plimsoll scale mood auto")),
    "delete": (by_hand.delete, ("plimsoll delete mood", "plimsoll delete tenant/shop")),
    "tenants": (tenants.tenants, ("plimsoll tenants", "plimsoll tenants --json")),
    "tenant key": (tenants.tenant_key, ("plimsoll tenant key shop --key-name ci",)),
    "cache purge": (tenants.cache_purge, ("plimsoll cache purge mood",)),
    "preflight": (preflight.preflight, ("plimsoll preflight --context prod", "plimsoll preflight --json")),
    "install": (
        install.install,
        (
            "plimsoll install > plimsoll.yaml",
            "plimsoll install --context prod --values values.yaml --dry-run | kubectl diff -f -",
            "plimsoll install --context prod",
        ),
    ),
    "adopt": (
        adopt.adopt,
        (
            "plimsoll adopt deployment/mood hpa/mood --context prod > mood.yaml",
            "plimsoll adopt --file deployment.yaml --file hpa.yaml --app app.py --to mood",
        ),
    ),
    "upgrade": (install.upgrade, ("plimsoll upgrade --context prod --dry-run",)),
    "uninstall": (install.uninstall, ("plimsoll uninstall --context prod --keep-services",)),
    "completion": (completion.completion, ("source <(plimsoll completion bash)",)),
    "version": (version, ()),
}
# Of names with two words, the first.
_GROUPS = {
    "tenant": "Those who may ask: their keys.",
    "cache": "Answers that are kept.",
}


def _build() -> None:
    groups: dict[str, typer.Typer] = {}
    for name, (command, examples) in _COMMANDS.items():
        first, _, second = name.partition(" ")
        if second and first not in groups:
            groups[first] = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
            app.add_typer(groups[first], name=first, help=_GROUPS[first])
        # \b: each on a line of its own
        epilog = "\n".join(["\b", "Examples:", *(f"  {example}" for example in examples)]) if examples else None
        (groups[first] if second else app).command(second or name, epilog=epilog)(command)


_build()
app.add_typer(audit.app)


def main() -> None:
    try:
        app(prog_name="plimsoll")
    except (UserError, HostError) as error:
        _fail(error)
    except BrokenPipeError:
        # `plimsoll status | head`: not ours to complain about; a second flush at exit would print a traceback
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(0)


def _fail(error: Exception) -> None:
    console, here = err(), f"{os.getcwd()}/"
    for line in str(error).splitlines() or [type(error).__name__]:
        console.line(f"{console.paint('error:', 'red')} {line.replace(here, '')}")  # paths as one would type them
    sys.exit(2)


if __name__ == "__main__":
    main()

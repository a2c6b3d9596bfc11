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
from plimsoll.cli import completion, files, run, services
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


# The order of `--help`: from an empty folder to a running service.
_COMMANDS: dict[str, Callable[..., None]] = {
    "init": files.init,
    "up": run.up,
    "serve": run.serve,
    "test": files.run_examples,
    "validate": files.validate,
    "schema": files.schema,
    "apply": services.apply,
    "status": services.status,
    "logs": services.logs,
    "events": services.events,
    "scale": services.scale,
    "delete": services.delete,
    "completion": completion.completion,
    "version": version,
}
for _name, _command in _COMMANDS.items():
    app.command(_name)(_command)


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

"""Shell completion: commands and options from typer, service names from the running instance."""

import os
from typing import Annotated

import typer

SHELLS = ("bash", "zsh", "fish", "powershell")


def service_names(incomplete: str) -> list[str]:
    """The running services that begin so; none, quietly, where nothing runs: a shell must never see an error here."""
    from plimsoll.app.client import AdminClient
    from plimsoll.app.instance import running
    from plimsoll.core.errors import PlimsollError

    names: list[str] = []
    for instance in running():
        try:
            names += [service["name"] for service in AdminClient(instance.admin_socket).services()]
        except PlimsollError:
            continue
    return sorted({name for name in names if name.startswith(incomplete)})


def ports(incomplete: str) -> list[str]:
    from plimsoll.app.instance import running

    return [str(instance.port) for instance in running() if str(instance.port).startswith(incomplete)]


def completion(
    shell: Annotated[
        str, typer.Argument(help=f"One of {', '.join(SHELLS)}.", metavar="SHELL", autocompletion=lambda: list(SHELLS))
    ],
) -> None:
    """Print the completion script of a shell.

    For this terminal alone: source <(plimsoll completion bash).
    For every later one: plimsoll --install-completion.
    """
    from plimsoll.cli.main import app
    from plimsoll.core.errors import UserError

    if shell not in SHELLS:
        raise UserError(f"no completion for {shell!r}; there is one for {', '.join(SHELLS)}")
    os.environ["_PLIMSOLL_COMPLETE"] = f"source_{shell}"  # how typer itself is asked for the script
    app(prog_name="plimsoll")

"""Shell completion: commands and options from typer, service names from the running instance."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from plimsoll.app.client import AdminClient

SHELLS = ("bash", "zsh", "fish", "powershell")


def service_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """The running services that begin so; those of a cluster where the command line is about one."""
    if ctx.params.get("context") or ctx.params.get("namespace"):
        return _in_cluster(ctx.params.get("context"), ctx.params.get("namespace"), incomplete)
    return local_names(incomplete)


def _in_cluster(context: str | None, namespace: str | None, incomplete: str) -> list[str]:
    """None, quietly, where it can't be asked."""
    from plimsoll.core.errors import PlimsollError

    try:
        from plimsoll.app.cluster import on_cluster
        from plimsoll.app.cluster_services import names

        return [name for name in on_cluster(context, namespace, names) if name.startswith(incomplete)]
    except (PlimsollError, ImportError):
        return []


def local_names(incomplete: str) -> list[str]:
    return _names(incomplete, lambda client: [one["name"] for one in client.services()])


def cached_names(incomplete: str) -> list[str]:
    """Those with a cache."""
    return _names(incomplete, lambda client: [one["name"] for one in client.services() if one["cache"]])


def tenant_names(incomplete: str) -> list[str]:
    return _names(incomplete, lambda client: [one["name"] for one in client.tenants()["tenants"]])


def deletable_names(ctx: typer.Context, incomplete: str) -> list[str]:
    return sorted({*service_names(ctx, incomplete), *(f"tenant/{name}" for name in _tenants_after(incomplete))})


def _tenants_after(incomplete: str) -> list[str]:
    """Of `tenant/sh`: the tenants that begin with `sh`."""
    kind, slash, rest = incomplete.partition("/")
    if not slash:
        return tenant_names("") if "tenant/".startswith(kind) else []
    return tenant_names(rest) if kind == "tenant" else []


def _names(incomplete: str, ask: "Callable[[AdminClient], list[str]]") -> list[str]:
    """Of all running instances; none, quietly, where nothing runs: a shell must never see an error here."""
    from plimsoll.app.client import AdminClient
    from plimsoll.app.instance import running
    from plimsoll.core.errors import PlimsollError

    names: list[str] = []
    for instance in running():
        try:
            names += ask(AdminClient(instance.admin_socket))
        except PlimsollError:
            continue
    return sorted({name for name in names if name.startswith(incomplete)})


def ports(incomplete: str) -> list[str]:
    from plimsoll.app.instance import running

    return [str(instance.port) for instance in running() if str(instance.port).startswith(incomplete)]


def contexts(incomplete: str) -> list[str]:
    """Of the kubeconfig; none where there is no such file, or no client for it."""
    from plimsoll.core.errors import PlimsollError

    try:
        from plimsoll.app.cluster import context_names

        return [name for name in context_names() if name.startswith(incomplete)]
    except (PlimsollError, ImportError):
        return []


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

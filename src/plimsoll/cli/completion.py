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


def _in_cluster(context: str | None, namespace: str | None, incomplete: str, what: str = "names") -> list[str]:
    """What that function of `cluster_services` finds. None, quietly, where it can't be asked."""
    from plimsoll.core.errors import PlimsollError

    try:
        from plimsoll.app import cluster_services
        from plimsoll.app.cluster import on_cluster

        found = on_cluster(context, namespace, getattr(cluster_services, what))
        return [name for name in found if name.startswith(incomplete)]
    except (PlimsollError, ImportError):
        return []


def namespaces(ctx: typer.Context, incomplete: str) -> list[str]:
    """Of the context's cluster, or the current one's."""
    return _in_cluster(ctx.params.get("context"), None, incomplete, "namespaces")


def deployments(ctx: typer.Context, incomplete: str) -> list[str]:
    """As `deployment/NAME`."""
    kind, slash, rest = incomplete.partition("/")
    if (kind != "deployment") if slash else not "deployment/".startswith(kind):
        return []
    found = _in_cluster(ctx.params.get("context"), ctx.params.get("namespace"), rest, "deployments")
    return [f"deployment/{name}" for name in found]


def local_names(incomplete: str) -> list[str]:
    return _names(incomplete, lambda client: [one["name"] for one in client.services()])


def cached_names(incomplete: str) -> list[str]:
    """Those with a cache."""
    return _names(incomplete, lambda client: [one["name"] for one in client.services() if one["cache"]])


def tenant_names(incomplete: str) -> list[str]:
    return _names(incomplete, lambda client: [one["name"] for one in client.tenants()["tenants"]])


def deletable_names(ctx: typer.Context, incomplete: str) -> list[str]:
    return sorted({*service_names(ctx, incomplete), *(f"tenant/{name}" for name in _tenants_after(ctx, incomplete))})


def _tenants_after(ctx: typer.Context, incomplete: str) -> list[str]:
    """Of `tenant/sh`: the tenants that begin with `sh`."""
    kind, slash, rest = incomplete.partition("/")
    if (kind != "tenant") if slash else not "tenant/".startswith(kind):
        return []
    if ctx.params.get("context") or ctx.params.get("namespace"):
        return _in_cluster(ctx.params.get("context"), ctx.params.get("namespace"), rest, "tenants")
    return tenant_names(rest)


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

"""The cluster that a command is about: which one, and what is wrong where it can't be reached.

answer = on_cluster("prod", "shop", ask)      # ask: an async function of a Reach
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from plimsoll.core.errors import HostError, UserError

if TYPE_CHECKING:
    from lightkube.config.kubeconfig import KubeConfig, SingleConfig

    from plimsoll.backends.kubernetes.install.reach import Reach

T = TypeVar("T")

_EXEC = "client.authentication.k8s.io/v1"
NEEDS_EXTRA = "this needs the Kubernetes client: pip install 'plimsoll-serve[k8s]'"


def on_cluster(context: str | None, namespace: str | None, work: "Callable[[Reach], Awaitable[T]]") -> T:
    """Runs `work` against the context's cluster (None: the current one). Raises UserError and HostError, naming the
    remedy."""
    require_client()
    return asyncio.run(_run(context, namespace, work))


async def _run(context: str | None, namespace: str | None, work: "Callable[[Reach], Awaitable[T]]") -> T:
    from plimsoll.backends.kubernetes.api import Api, ApiError, Unreachable
    from plimsoll.backends.kubernetes.install.reach import Reach

    config = find_config(context)
    api = Api.connect(config)
    if namespace:
        api.namespace = namespace
    where = f"{config.cluster.server} (context {config.context_name})"
    try:
        return await work(Reach(api))
    except Unreachable as error:
        raise HostError(_unreachable(str(error), where)) from error
    except ApiError as error:
        raise HostError(_refused(error, where)) from error
    finally:
        await api.close()


def require_client() -> None:
    """Raises UserError where the extra isn't installed."""
    try:
        import lightkube  # noqa: F401
    except ImportError:
        raise UserError(NEEDS_EXTRA) from None


def context_names() -> list[str]:
    """Raises UserError, ImportError."""
    return sorted(_read_configs().contexts)


def find_config(context: str | None) -> "SingleConfig":
    """The context's place and credentials. Raises UserError."""
    from lightkube.config.kubeconfig import SingleConfig
    from lightkube.config.models import User

    config = _read_configs()
    name = context or config.current_context
    if not name:
        raise UserError(f"the kubeconfig has no current context; name one: --context {_or(config.contexts)}")
    if name not in config.contexts:
        near = get_close_matches(name, list(config.contexts), n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(config.contexts) or 'none'}"
        raise UserError(f"the kubeconfig has no context {name}; {hint}")
    chosen = config.contexts[name]
    for kind, wanted, known in (("cluster", chosen.cluster, config.clusters), ("user", chosen.user, config.users)):
        if wanted and wanted not in known:
            raise UserError(f"the kubeconfig's context {name} names the {kind} {wanted}, which isn't in it")
    user = config.users[chosen.user] if chosen.user else User()  # a proxy that authenticates by itself
    return SingleConfig(name, chosen, config.clusters[chosen.cluster], _with_exec(user), config.fname)


def _or(names: Any) -> str:
    return " or ".join(names) or "NAME"


def _with_exec(user: Any) -> Any:
    """A plugin of the API's v1 answers as v1beta1 does, but wants to be told what asks."""
    import msgspec
    from lightkube.config.models import NameValue

    if user.exec is None or user.exec.apiVersion != _EXEC:
        return user
    info = {"apiVersion": _EXEC, "kind": "ExecCredential", "spec": {"interactive": False}}
    told = NameValue("KUBERNETES_EXEC_INFO", msgspec.json.encode(info).decode())
    env = [*(user.exec.env or []), told]
    return msgspec.structs.replace(user, exec=msgspec.structs.replace(user.exec, apiVersion=f"{_EXEC}beta1", env=env))


def _read_configs() -> "KubeConfig":
    """Of all files that KUBECONFIG names the first that has a thing wins, as with kubectl; in a pod its own account."""
    from lightkube.config.kubeconfig import KubeConfig
    from lightkube.core.exceptions import ConfigError

    named = [part for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    files = [Path(part).expanduser() for part in named] or [Path("~/.kube/config").expanduser()]
    there = [file for file in files if file.is_file()]
    if not there:
        try:
            return KubeConfig.from_service_account()
        except (ConfigError, KeyError):
            pass
        looked = f"KUBECONFIG names {os.environ['KUBECONFIG']}" if named else f"there is no {files[0]}"
        raise UserError(f"no kubeconfig: {looked}; set KUBECONFIG to the file that your cluster's provider gives")
    whole: KubeConfig | None = None
    for file in there:
        read = _read_config(file)
        if whole is None:
            whole = read
            continue
        whole.contexts = read.contexts | whole.contexts
        whole.clusters = read.clusters | whole.clusters
        whole.users = read.users | whole.users
        whole.current_context = whole.current_context or read.current_context
    assert whole is not None
    return whole


def _read_config(file: Path) -> "KubeConfig":
    from lightkube.config.kubeconfig import KubeConfig

    try:
        return KubeConfig.from_file(file)
    except OSError as error:
        raise UserError(f"{file} can't be read: {error.strerror}") from None
    except Exception as error:  # YAML's, msgspec's and KeyError: whatever a broken file leads to
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{file} is no kubeconfig: {what}") from None


def _unreachable(told: str, where: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in told:
        return f"{where} shows a certificate that the kubeconfig's authority didn't sign; fetch the kubeconfig anew"
    return f"{where} can't be reached: {told.removeprefix('the API server does not answer: ')}; is it up, and the VPN?"


def _refused(error: Any, where: str) -> str:
    if error.code == 401:
        return f"{where} doesn't know you: its credentials are wrong or have expired; log in again"
    if error.code == 403:
        return f"{where} forbids it: {error}; ask for a role (plimsoll-view, plimsoll-edit: docs/kubernetes.md)"
    return f"{where}: {error}"

"""A service's own examples as requests: the bodies, and the door that takes them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from plimsoll.core.errors import UserError
from plimsoll.load import Target, body_of_zeros, http_target
from plimsoll.models.examples import read_examples
from plimsoll.spec import ModelService


def bodies_of(service: ModelService) -> tuple[list[bytes], str]:
    """The bodies of the examples in the files beside the service, and where they are from; none where there are none.
    Raises ModelLoadError for a file that can't be read."""
    examples = read_examples(str(service.directory), service.name)
    bodies = [json.dumps(one.input, ensure_ascii=False).encode() for one in examples]
    return bodies, examples[0].name or "examples" if examples else ""


def door_of(name: str, routes: Sequence[str], body: bytes) -> tuple[str, str]:
    """(path, host) of the door that takes this body: the protocols' where it is theirs, else the service's own.
    `routes`: as the admin API has them, a host before the path where there is one."""
    sent: Any
    try:
        sent = json.loads(body)
    except ValueError:
        sent = None
    infer = f"/v2/models/{name}/infer"
    if isinstance(sent, dict) and isinstance(sent.get("inputs"), list):
        return infer, ""
    if routes:
        own = next((route for route in routes if route.startswith("/")), routes[0])
        host, slash, path = own.partition("/")
        return slash + path, host
    if isinstance(sent, dict) and "instances" in sent:
        return f"/v1/models/{name}:predict", ""
    return infer, ""


def targets_of(service: ModelService, address: str, model: Mapping[str, Any]) -> tuple[list[Target], str]:
    """Requests for a replica at `address`, and what they are: the service's examples, or zeros as `model` (a replica's
    "ready" event) says they can be. Raises UserError where neither is known, ModelLoadError as `bodies_of`."""
    bodies, note = bodies_of(service)
    if not bodies:
        zeros = body_of_zeros(model.get("inputs") or [])
        if zeros is None:
            raise UserError(
                f"no example is known for {service.name}; write request.json beside the service file: a body as it is "
                'sent, or a list of {"input": …}'
            )
        bodies, note = [json.dumps(zeros).encode()], "zeros, by the model's metadata"
    routes = [f"{route.host or ''}{route.path}" for route in service.spec.routes]
    targets = []
    for body in bodies:
        path, host = door_of(service.name, routes, body)
        headers = (f"host: {host}",) if host else ()
        targets.append(http_target(f"http://localhost{path}", body, headers, unix_socket=address.removeprefix("unix:")))
    return targets, note

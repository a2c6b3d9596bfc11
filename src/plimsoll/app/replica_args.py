"""A replica's settings, spelt out from its service by whoever starts it.

Reading a service needs pydantic: 12 MB that an idle replica would hold, and 0.1 s where it starts by exec. So the
controller does it, and the replica gets plain values. Imports nothing of `server`, which the controller doesn't need.
"""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from plimsoll.app.model_source import model_source
from plimsoll.spec import ModelService

# How many items a call may hold where the user doesn't say. The queue finds the useful size below it by itself.
MAX_BATCH = 64


def settings_values(args: Mapping[str, Any], *, trusted: bool | None = None) -> dict[str, Any]:
    """The fields of `server.ReplicaSettings`, JSON-able, from a replica's args (docs/processes.md).

    `trusted`: whether the peers are our own gateways; left out, they are exactly on a Unix socket.
    """
    service = ModelService.parse(args["service"])
    path = str(args.get("model_path") or "")
    directory = str(args.get("directory") or "")
    written = service.spec.model.path
    origin = os.path.join(directory, written) if path and written else ""
    source = model_source(service, path=path, directory=directory, origin=origin)
    return {
        "service": service.name,
        "revision": str(args["revision"]),
        "replica": str(args.get("replica") or args["revision"]),
        "listen": str(args["listen"]),
        "source": dataclasses.asdict(source),
        "routes": [route.path for route in service.spec.routes],
        "isolation": service.spec.runtime.isolation,
        "max_batch": service.max_batch or MAX_BATCH,
        "linger_s": service.linger_s,
        "target_s": service.target_s,
        "timeout_s": service.timeout_s,
        "predict_timeout_s": service.predict_timeout_s,
        "load_timeout_s": service.load_timeout_s,
        "trusted": str(args["listen"]).startswith("unix:") if trusted is None else trusted,
        "cpus": list(args.get("cpus") or ()),
    }

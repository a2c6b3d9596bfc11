"""The one line that a new user can copy: a request that this service answers."""

import json
import os
import shlex
from pathlib import Path

from plimsoll.spec import ModelService

_INLINE_MAX = 100  # characters; a longer body is read from its file


def try_line(service: ModelService, gateway: str, *, folder: Path | None = None, options: str = "") -> str:
    """`gateway`: `localhost:8080` or `https://localhost:8080`; `options`: more of curl's, as text. The body is that of
    NAME.request.json or request.json beside the service file, by its path from `folder` (default: the current one)
    where it is long. Without one: the model's metadata."""
    folder = Path.cwd() if folder is None else folder
    for file in (service.directory / f"{service.name}.request.json", service.directory / "request.json"):
        try:
            body = json.loads(file.read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(body, list) and body and all(isinstance(entry, dict) and "input" in entry for entry in body):
            line = _request(service, gateway, body[0]["input"], None)  # examples: `plimsoll test` reads it so too
        else:
            line = _request(service, gateway, body, _shortest(file.resolve(), folder.resolve()))
        break
    else:
        line = f"curl {gateway}/v2/models/{service.name}"
    return f"{line} {options}" if options else line


def _shortest(file: Path, folder: Path) -> str:
    relative = os.path.relpath(file, folder)
    return relative if len(relative) <= len(str(file)) else str(file)


def _request(service: ModelService, gateway: str, body: object, file: str | None) -> str:
    host = ""
    if isinstance(body, dict) and isinstance(body.get("inputs"), list):
        path = f"/v2/models/{service.name}/infer"
    elif service.spec.routes:
        path, named = service.spec.routes[0].path, service.spec.routes[0].host
        host = f"-H {shlex.quote(f'host: {named}')} " if named else ""
    elif isinstance(body, dict) and "instances" in body:
        path = f"/v1/models/{service.name}:predict"
    else:
        path = f"/v2/models/{service.name}/infer"
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    data = shlex.quote(text) if len(text) <= _INLINE_MAX or file is None else shlex.quote(f"@{file}")
    return f"curl {gateway}{shlex.quote(path)} {host}-d {data}"

"""Who we are to a registry: `~/.docker/config.json`, credential helpers, a mounted Secret; and the token that it wants.

The flow: https://distribution.github.io/distribution/spec/auth/token/. Tokens live in this process alone.
"""

import base64
import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from plimsoll.backends.kubernetes.artifacts.references import is_loopback
from plimsoll.backends.kubernetes.artifacts.web import Refused, Web, shown
from plimsoll.core.errors import HostError, UserError

_PARAMETER = re.compile(r'([a-zA-Z_]+)="([^"]*)"')
_HELPER_NAME = re.compile(r"[a-z0-9-]+\Z")
_HELPER_TIMEOUT_S = 20
_TOKEN_MAX_BYTES = 1 << 20
_DOCKER_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")


@dataclass(frozen=True, slots=True)
class Login:
    """`identity_token` instead of a password, where a login gave one."""

    username: str = ""
    password: str = ""
    identity_token: str = ""

    def __repr__(self) -> str:
        return f"Login({self.username!r})"  # never in a log

    @property
    def basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


def login_from(config: Mapping[str, Any], host: str) -> Login | None:
    """Of a docker config's text as an object; helpers are asked. Raises HostError where a helper fails."""
    names = _DOCKER_HUB if host in _DOCKER_HUB else (host,)
    helpers = config.get("credHelpers") or {}
    helper = next((helpers[name] for name in names if name in helpers), config.get("credsStore"))
    auths = config.get("auths") or {}
    found = next((auths[key] for key in auths if _host_of(key) in names), None)
    if helper and (found is None or not found.get("auth")):
        return _ask_helper(str(helper), host)
    if found is None:
        return None
    username, password = str(found.get("username", "")), str(found.get("password", ""))
    if found.get("auth"):
        try:
            username, _, password = base64.b64decode(found["auth"]).decode().partition(":")
        except ValueError:
            raise UserError(f"the login for {host} in the docker config cannot be read; docker login {host}") from None
    return Login(username, password.rstrip("\0"), str(found.get("identitytoken", "")))


def login_of(host: str, file: Path | None = None) -> Login | None:
    """From `file`, or `$DOCKER_CONFIG/config.json`, or `~/.docker/config.json`; None without a login for `host`."""
    file = file or Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read: {error}") from None
    if not isinstance(config, dict):
        raise UserError(f'{file} holds no docker config; expected {{"auths": …}}')
    return login_from(config, host)


def _host_of(key: str) -> str:
    """Old configs keep URLs: https://index.docker.io/v1/."""
    return (urlsplit(key).netloc if "://" in key else key.partition("/")[0]) or key


def _ask_helper(name: str, host: str) -> Login | None:
    if not _HELPER_NAME.match(name):
        raise UserError(f"the docker config names a credential helper {name[:60]!r}; expected letters and digits")
    program = f"docker-credential-{name}"
    try:
        done = subprocess.run(
            [program, "get"], input=host.encode(), capture_output=True, timeout=_HELPER_TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        raise HostError(f"the docker config wants {program}, which is not on the PATH") from None
    except subprocess.TimeoutExpired:
        raise HostError(f"{program} did not answer within {_HELPER_TIMEOUT_S} s") from None
    if done.returncode != 0:
        if b"not found" in done.stdout.lower():
            return None
        raise HostError(f"{program} failed for {host}: {done.stdout.decode(errors='replace').strip()[:200]}")
    answer = json.loads(done.stdout)
    if answer.get("Username") == "<token>":
        return Login(identity_token=answer["Secret"])
    return Login(answer["Username"], answer["Secret"])


class Authorization:
    """The `Authorization` header for one repository: none at first, then what the registry's challenge asks for."""

    def __init__(self, web: Web, login: Login | None, repository: str, actions: str) -> None:
        self._web, self._login = web, login
        self._scope = f"repository:{repository}:{actions}"
        self._value = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": self._value} if self._value else {}

    def meet(self, refused: Refused) -> bool:
        """After a 401: True where the request is worth sending again."""
        challenge = refused.headers.get("www-authenticate", "")
        kind, _, rest = challenge.partition(" ")
        before, self._value = self._value, ""
        if kind.lower() == "basic" and self._login is not None and not before:
            self._value = self._login.basic
        elif kind.lower() == "bearer":
            self._value = f"Bearer {self._token(dict(_PARAMETER.findall(rest)))}"
        return bool(self._value) and self._value != before

    def _token(self, challenge: Mapping[str, str]) -> str:
        realm = challenge.get("realm", "")
        parts = urlsplit(realm)
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.netloc)):
            raise Refused(f"the registry sends us to {shown(realm)[:200]!r} for a token; expected https")
        asked = {"service": challenge.get("service", ""), "scope": challenge.get("scope") or self._scope}
        if self._login is not None and self._login.identity_token:
            form = asked | {
                "grant_type": "refresh_token",
                "refresh_token": self._login.identity_token,
                "client_id": "plimsoll",
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = self._web.ask("POST", realm, headers=headers, body=urlencode(form).encode())
        else:
            headers = {"Authorization": self._login.basic} if self._login is not None else {}
            joint = "&" if parts.query else "?"
            answer = self._web.ask("GET", f"{realm}{joint}{urlencode(asked)}", headers=headers)
        with answer:
            found = json.loads(answer.read(_TOKEN_MAX_BYTES))
        token = found.get("token") or found.get("access_token")
        if not isinstance(token, str):
            raise Refused(f"{shown(realm)} answered without a token")
        return token

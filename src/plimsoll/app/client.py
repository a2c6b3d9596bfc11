"""The admin API from the command line's side: JSON over the instance's 0600 Unix socket.

Over `http.client`, which imports in 15 ms; an HTTP library would double the time of `plimsoll status`.
"""

import http.client
import json
import socket
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any
from urllib.parse import quote, urlencode

from plimsoll.core.errors import HostError, UserError

TIMEOUT_S = 30.0  # the admin API answers in milliseconds; longer means that the instance hangs


class Rejected(UserError):
    """The admin API refused; `lines` holds every error it named."""

    def __init__(self, lines: list[str], status: int) -> None:
        super().__init__("\n".join(lines))
        self.lines, self.status = lines, status


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class AdminClient:
    """One instance's admin API. Every method raises Rejected where it refuses, HostError where nobody answers."""

    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path

    def info(self) -> dict[str, Any]:
        return self._call("GET", "/v1/info")

    def services(self) -> list[dict[str, Any]]:
        services: list[dict[str, Any]] = self._call("GET", "/v1/services")["services"]
        return services

    def service(self, name: str) -> dict[str, Any]:
        return self._named(name, "GET", "")

    def apply(self, documents: list[dict[str, str]]) -> list[dict[str, Any]]:
        applied: list[dict[str, Any]] = self._call("POST", "/v1/services", {"documents": documents})["applied"]
        return applied

    def scale(self, name: str, replicas: int | None, for_s: float | None = None) -> dict[str, Any]:
        """`for_s`: how long that holds, seconds; None: as the instance sees fit."""
        return self._named(name, "POST", "/scale", {"replicas": replicas} | ({} if for_s is None else {"for_s": for_s}))

    def delete(self, name: str) -> dict[str, Any]:
        return self._named(name, "DELETE", "")

    def delete_tenant(self, name: str) -> None:
        self._call("DELETE", f"/v1/tenants/{quote(name, safe='')}")

    def delete_platform(self, name: str) -> None:
        self._call("DELETE", f"/v1/platforms/{quote(name, safe='')}")

    def tenants(self) -> dict[str, Any]:
        """`tenants`, and `limits`: how their quotas hold."""
        return self._call("GET", "/v1/tenants")

    def purge(self, name: str) -> dict[str, Any]:
        return self._named(name, "POST", "/cache/purge", {})

    def logs(self, name: str, *, lines: int, replica: str | None = None, follow: bool = False) -> Iterator[str]:
        query = {"lines": str(lines)} | ({"replica": replica} if replica else {}) | ({"follow": "1"} if follow else {})
        try:
            yield from self._stream(f"/v1/services/{quote(name, safe='')}/logs?{urlencode(query)}", follow)
        except Rejected as error:
            raise self._with_nearest(name, error) from None

    def events(self, *, since: int | None = None, follow: bool = False) -> Iterator[dict[str, Any]]:
        query = ({} if since is None else {"since": str(since)}) | ({"follow": "1"} if follow else {})
        for line in self._stream(f"/v1/events?{urlencode(query)}", follow):
            if line:
                yield json.loads(line)

    def _named(self, name: str, method: str, rest: str, body: Any = None) -> dict[str, Any]:
        try:
            return self._call(method, f"/v1/services/{quote(name, safe='')}{rest}", body)
        except Rejected as error:
            raise self._with_nearest(name, error) from None

    def _with_nearest(self, name: str, error: Rejected) -> UserError:
        """For an unknown service: the nearest known name, or all of them."""
        if error.status != 404:
            return error
        known = [service["name"] for service in self.services()]
        if name in known:
            return error
        nearest = get_close_matches(name, known, n=1)
        if nearest:
            return UserError(f"no service {name!r}; did you mean {nearest[0]}?")
        return UserError(f"no service {name!r}; running: {', '.join(known) or 'none'}")

    def _call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        connection = _UnixConnection(self._socket_path, TIMEOUT_S)
        try:
            response = self._request(connection, method, path, body)
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._silent(error) from error
        finally:
            connection.close()
        if response.status >= 400:
            raise _rejected(response.status, answer)
        parsed: dict[str, Any] = json.loads(answer) if answer else {}
        return parsed

    def _stream(self, path: str, follow: bool) -> Iterator[str]:
        """Lines as they come; ends when the instance goes away."""
        connection = _UnixConnection(self._socket_path, None if follow else TIMEOUT_S)
        try:
            try:
                response = self._request(connection, "GET", path, None)
                if response.status >= 400:
                    raise _rejected(response.status, response.read())
            except (OSError, http.client.HTTPException) as error:
                raise self._silent(error) from error
            try:
                while line := response.readline():
                    yield line.decode("utf-8", "replace").rstrip("\n")
            except (OSError, http.client.HTTPException):
                return
        finally:
            connection.close()

    def _request(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: Any
    ) -> http.client.HTTPResponse:
        payload = None if body is None else json.dumps(body).encode()
        headers = {} if payload is None else {"content-type": "application/json"}
        connection.request(method, path, payload, headers)
        return connection.getresponse()

    def _silent(self, error: Exception) -> HostError:
        return HostError(
            f"the running plimsoll does not answer on {self._socket_path}: {error or type(error).__name__}"
        )


def _rejected(status: int, answer: bytes) -> Rejected:
    try:
        told = json.loads(answer)
        lines = [str(line) for line in told.get("errors") or [told["error"]]]
    except (ValueError, KeyError, AttributeError, TypeError):
        lines = [f"the admin API answered {status}: {answer[:200].decode('utf-8', 'replace')}"]
    return Rejected(lines, status)

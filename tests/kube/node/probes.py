"""Probes as a kubelet does them: over HTTP, TCP or by a command; thresholds and periods of the spec."""

import asyncio
import ssl

import aiohttp

# Whole clusters run on two cores, API server and kubelet in one process: what is late here would be in time on a node.
PATIENCE = 5
_UNVERIFIED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # as kubelets do; without the machine's CAs, which take 20 ms
_UNVERIFIED.check_hostname, _UNVERIFIED.verify_mode = False, ssl.CERT_NONE


def port_of(container, port):
    if isinstance(port, int):
        return port
    return next(one["containerPort"] for one in container.get("ports") or () if one.get("name") == port)


class Probe:
    """One probe of one container. `run(changed)` calls `changed(good, message)` whenever its verdict is reached or
    turns; liveness and startup count as bad only after `failureThreshold`."""

    def __init__(self, spec, container, address, execute):
        self._spec, self._container, self._address, self._execute = spec, container, address, execute
        self._period_s = spec.get("periodSeconds", 10)
        self._timeout_s = PATIENCE * spec.get("timeoutSeconds", 1)

    async def run(self, changed):
        await asyncio.sleep(self._spec.get("initialDelaySeconds", 0))
        good = bad = 0
        verdict = None
        while True:
            began = asyncio.get_running_loop().time()
            message = await self._once()
            good, bad = (good + 1, 0) if message is None else (0, bad + 1)
            now = verdict
            if good >= self._spec.get("successThreshold", 1):
                now = True
            elif bad >= self._spec.get("failureThreshold", 3):
                now = False
            if now is not verdict or (now is False and bad == self._spec.get("failureThreshold", 3)):
                verdict = now
                changed(now, message or "")
            # A kubelet's ticker goes on during a probe.
            await asyncio.sleep(max(0.0, began + self._period_s - asyncio.get_running_loop().time()))

    async def _once(self):
        """None where it went well, else what went wrong."""
        try:
            async with asyncio.timeout(self._timeout_s):
                if "httpGet" in self._spec:
                    return await self._http(self._spec["httpGet"])
                if "tcpSocket" in self._spec:
                    port = port_of(self._container, self._spec["tcpSocket"]["port"])
                    _, writer = await asyncio.open_connection(self._address, port)
                    writer.close()
                    return None
                if "exec" in self._spec:
                    code, told = await self._execute(self._spec["exec"]["command"])
                    return None if code == 0 else told or f"exit code {code}"
        except TimeoutError:
            return "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        except (OSError, aiohttp.ClientError) as error:
            return str(error)
        return "this kubelet knows httpGet, tcpSocket and exec"

    async def _http(self, wanted):
        host = wanted.get("host") or self._address
        port = port_of(self._container, wanted["port"])
        scheme = wanted.get("scheme", "HTTP").lower()
        url = f"{scheme}://{host}:{port}{wanted.get('path') or '/'}"
        headers = {one["name"]: one["value"] for one in wanted.get("httpHeaders") or ()}
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, headers=headers, ssl=_UNVERIFIED, allow_redirects=False) as answer,
        ):
            if 200 <= answer.status < 400:
                return None
            return f"HTTP probe failed with statuscode: {answer.status}"

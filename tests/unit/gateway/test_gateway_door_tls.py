"""HTTPS of the gateway's own door: where there are no files nobody may have asked for it."""

import asyncio
import logging

from tests.support.certificates import Authority, Mounted
from tests.support.gateway_host import until

from plimsoll.gateway.gateway import Gateway
from plimsoll.gateway.settings import GatewaySettings


def test_without_files_it_is_quiet_and_with_broken_ones_it_warns(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("plimsoll.gateway.gateway._FILES_S", 0.01)
    authority = Authority(tmp_path, "ca")
    mounted = Mounted(tmp_path / "tls")
    settings = GatewaySettings(
        name="gw",
        listen=(),
        control=f"unix:{tmp_path}/nobody",
        tls_listen=("tcp:127.0.0.1:0",),
        tls=mounted.settings(ca=False),
    )

    async def said(count, level):
        def found_all():
            return [one for one in caplog.records if "HTTPS" in one.getMessage()]

        await until(lambda: len(found_all()) >= count)
        found = found_all()
        assert found[-1].levelno == level
        return found[-1].getMessage()

    async def main():
        gateway = Gateway(settings)
        opening = asyncio.create_task(gateway._listen_tls())
        try:
            words = await said(1, logging.INFO)
            assert words.startswith("no HTTPS yet: ")
            assert "tls.crt and " in words
            assert words.endswith("are not there (they may come)")
            mounted.put((b"nonsense", b"nonsense"), authority)
            assert "holds no PEM certificate" in await said(2, logging.WARNING)
            mounted.put(authority.server("server"), authority)
            await said(3, logging.INFO)
            await asyncio.wait_for(opening, 5)
        finally:
            opening.cancel()
            await gateway.close()

    with caplog.at_level(logging.INFO, logger="plimsoll"):
        asyncio.run(asyncio.wait_for(main(), 60))

"""Who signs clients' certificates may be said later, and be taken back: a Secret that comes and goes."""

from tests.support.certificates import client_context
from tests.support.tls_client import TlsClient
from tests.unit.wire.http1.tls_kit import ADDRESS, GET, ask, files, served, until

from plimsoll.wire.http1 import TlsSettings

__all__ = ["files"]  # a fixture


def test_nobody_is_asked_for_a_certificate_until_it_is_known_who_signs_them(kit, files, tmp_path):
    async def main():
        authority = tmp_path / "ca.crt"
        application = kit.Application()
        cert, key = map(str, files.server)
        settings = TlsSettings(
            cert, key, str(authority), require_client_cert=False, client_ca_may_come=True, check_s=0.01
        )
        server = served(kit, application, settings)
        bound = await server.start(ADDRESS)
        alice, nobody = client_context(files.ca.cert, files.alice), client_context(files.ca.cert)

        async def named(context):
            answer, _ = await ask(bound, context)
            assert answer.endswith(b"ok")
            return bool(application.exchanges[-1].peer_subjects())

        async def swapped(change):
            first = server.tls.current
            change()
            await until(lambda: server.tls.current is not first)

        assert not await named(alice)
        # a handshake that nobody is asked in outlives a change of files
        begun = await TlsClient(nobody).connect(bound)
        await until(lambda: server.handshakes == 1)
        await swapped(lambda: authority.write_bytes(files.ca.cert.read_bytes()))
        await begun.handshake()
        await begun.send(GET)
        assert (await begun.answer(2)).endswith(b"ok")
        begun.close()
        assert [await named(alice), await named(nobody)] == [True, False]
        await swapped(authority.unlink)
        assert not await named(alice)
        await server.close(0)

    kit.run("uvloop", main())

"""Rotation as a timeline of 90 days, and what a verifier that is always up to two hours behind sees of it."""

import ssl
import time
from itertools import pairwise

import pytest

pytest.importorskip("cryptography", reason="cryptography is not installed: pip install 'plimsoll-serve[k8s]'")

from cryptography import x509

from plimsoll.backends.kubernetes.operator.certificates import (
    NEXT_KEY,
    CertificateSettings,
    Fresh,
    Prepare,
    Promote,
    Tidy,
    Wait,
    carried_out,
    issued,
    own_names,
    plan,
)
from plimsoll.backends.kubernetes.operator.signing import CA, CERTIFICATE, KEY

NAMES = own_names("plimsoll-system", ("plimsoll-operator", "plimsoll-controller"))
SETTINGS = CertificateSettings()
T0 = 1_700_000_000.0
DAY = 86400.0


def run(days):
    """[(when, step, data after it)] of a host that looks when it was told to."""
    now, data, told = T0, None, []
    while now < T0 + days * DAY:
        step = plan(data, NAMES, now)
        if isinstance(step, Wait):
            assert step.until > now, "a wait that is over would spin"
            now = step.until
            continue
        data = carried_out(step, data, NAMES, now)
        told.append((now, step, data))
    return told


def test_a_year_of_rotation():
    told = run(365)
    steps = [type(step) for _, step, _ in told]
    assert steps[:7] == [Fresh, Prepare, Promote, Tidy, Prepare, Promote, Tidy]
    at = [round((when - T0) / 3600, 2) for when, _, _ in told[:4]]
    assert at == [0, 60 * 24, 60 * 24 + 1, 60 * 24 + 2]
    assert len(told[-1][2]) in (3, 5), "nothing piles up"


def verifies(bundle, certificate):
    """As OpenSSL would, by names: which authority signed it stands in the bundle, and neither has expired."""
    leaf = x509.load_pem_x509_certificate(certificate)
    for authority in x509.load_pem_x509_certificates(bundle):
        if authority.subject == leaf.issuer:
            leaf.verify_directly_issued_by(authority)
            return True
    return False


def test_whoever_verifies_with_the_bundle_before_or_after_a_step_trusts_what_is_shown():
    for (_, _, before), (_, step, after) in pairwise(run(200)):
        assert verifies(before[CA], after[CERTIFICATE]), f"a kubelet that is late at {step}"
        assert verifies(after[CA], before[CERTIFICATE]) or isinstance(step, Tidy), f"a server that is late at {step}"


def test_openssl_takes_it_for_a_server_by_each_of_its_names(tmp_path):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    fresh = carried_out(Fresh(""), None, NAMES, time.time())
    (tmp_path / CERTIFICATE).write_bytes(fresh[CERTIFICATE])
    (tmp_path / KEY).write_bytes(fresh[KEY])
    server.load_cert_chain(tmp_path / CERTIFICATE, tmp_path / KEY)
    client = ssl.create_default_context(cadata=fresh[CA].decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    for name in NAMES:
        assert handshake(server, client, name) == "ok"
    assert "mismatch" in handshake(server, client, "plimsoll-operator.other.svc").lower()


def handshake(server_context, client_context, name):
    here, there = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(here, there, server_hostname=name)
    server = server_context.wrap_bio(there, here, server_side=True)
    done = set()
    for _ in range(10):
        for who, side in (("client", client), ("server", server)):
            try:
                side.do_handshake()
                done.add(who)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                return str(error)
        if len(done) == 2:
            return "ok"
    return "stuck"


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda data: None, "there is none"),
        (lambda data: {}, "no usable certificate"),
        (lambda data: {**data, CERTIFICATE: b"no pem"}, "no usable certificate"),
        (lambda data: {**data, KEY: issued(NAMES, T0, DAY)[2]}, "another certificate"),
        (lambda data: {**data, CA: issued(NAMES, T0, DAY)[0]}, "not in the bundle"),
    ],
)
def test_what_can_not_be_used_is_made_anew(spoil, why):
    data = carried_out(Fresh(""), None, NAMES, T0)
    step = plan(spoil(data), NAMES, T0 + 1)
    assert isinstance(step, Fresh)
    assert why in step.why


def test_a_new_name_and_an_expired_certificate_are_made_anew():
    data = carried_out(Fresh(""), None, NAMES, T0)
    assert plan(data, (*NAMES, "new.svc"), T0 + 1) == Fresh("it does not name new.svc")
    assert plan(data, NAMES, T0 + 90 * DAY) == Fresh("it has expired")


def test_a_next_pair_that_is_spoilt_is_prepared_again():
    data = carried_out(Fresh(""), None, NAMES, T0)
    due = T0 + 60 * DAY
    prepared = carried_out(Prepare(), data, NAMES, due)
    assert plan(prepared, NAMES, due) == Wait(due + SETTINGS.overlap_s)
    alone = {**prepared, CA: data[CA]}
    assert plan(alone, NAMES, due) == Prepare()
    again = carried_out(Prepare(), alone, NAMES, due)
    assert len(x509.load_pem_x509_certificates(again[CA])) == 2
    assert NEXT_KEY in again
    assert isinstance(plan(again, NAMES, due + SETTINGS.overlap_s), Promote)

"""The authority of replicas and gateways as a timeline of years: two services and a gateway, whose kubelets bring what
a Secret holds up to two minutes late."""

import random
import ssl
import time
from itertools import pairwise

import pytest

pytest.importorskip("cryptography", reason="cryptography is not installed: pip install 'plimsoll-serve[k8s]'")

from cryptography import x509
from tests.unit.backends.kubernetes.operator.test_certificates import verifies

from plimsoll.backends.kubernetes.operator.authority import (
    ANNOUNCED,
    Announce,
    AuthoritySettings,
    carried_out,
    leaf_wanted,
    plan,
)
from plimsoll.backends.kubernetes.operator.certificates import NEXT_KEY, Fresh, Prepare, Promote, Tidy, Wait
from plimsoll.backends.kubernetes.operator.signing import CA, CERTIFICATE, CLIENT, KEY, SERVER, signed

SETTINGS = AuthoritySettings()
T0 = 1_700_000_000.0
DAY = 86400.0
GATEWAY = "plimsoll-gateway.plimsoll-system.svc"
NAMES = {"gateway": (GATEWAY,), "mood": ("mood.shop.svc",), "fraud": ("fraud.shop.svc",)}
LATE_S = 120.0


class World:
    """The Secrets, and what each pod has of them now. `broken`: Secrets that can't be written."""

    def __init__(self, now=T0):
        self.now, self.authority = now, None
        self.secrets, self.pods, self.pending = {}, {}, []
        self.steps, self.broken, self.looked = [], set(), set()

    def turn(self):
        """As the host does: the authority, then each Secret; who starts anew has looked at none."""
        everywhere = (
            self.authority is not None
            and self.looked == set(NAMES)
            and all(self.secrets[name][CA] == self.authority[CA] for name in NAMES if name in self.secrets)
        )
        step = plan(self.authority, everywhere, self.now)
        if not isinstance(step, Wait):
            known = self.secrets.get("gateway", {}).get(CA, b"")
            self.authority = carried_out(step, self.authority, self.now, known=known)
            self.steps.append((self.now, type(step)))
        self.due = step.until if isinstance(step, Wait) else self.now
        for name, names in NAMES.items():
            self.looked.add(name)
            before = self.secrets.get(name, {})
            wanted = dict(before)
            leaf = leaf_wanted(before, self.authority, names, self.now)
            self.due = min(self.due, leaf.until if isinstance(leaf, Wait) else self.now)
            if isinstance(leaf, Fresh):
                pair = signed(
                    names, self.authority[CERTIFICATE], self.authority[KEY], self.now, SETTINGS.leaf_life_s,
                    CLIENT if name == "gateway" else SERVER,
                )  # fmt: skip
                wanted = dict(zip((CERTIFICATE, KEY), pair, strict=True))
            wanted[CA] = self.authority[CA]
            if wanted != before and name not in self.broken:
                self.secrets[name] = wanted
                self.pending.append((self.now + LATE_S, name, wanted))
        return step

    def bring(self):
        """What kubelets have brought by now."""
        for due, name, data in list(self.pending):
            if due <= self.now:
                self.pods[name] = data
                self.pending.remove((due, name, data))

    def check(self, *, but=()):
        """Each believes each other one with what it has, and nobody shows what has expired."""
        for name, data in self.pods.items():
            if name in but:
                continue
            shown = x509.load_pem_x509_certificate(data[CERTIFICATE])
            assert shown.not_valid_before_utc.timestamp() <= self.now < shown.not_valid_after_utc.timestamp(), name
            for other, believed in self.pods.items():
                if other not in but:
                    assert verifies(believed[CA], data[CERTIFICATE]), f"{other} does not believe {name}"

    def live(self, days, check=True):
        """Looks when the plans say so, each hour while something can't be done, and each minute until what was written
        has been brought."""
        end = self.now + days * DAY
        while self.now < end:
            self.turn()
            soon = 60.0 if self.pending else 3600.0 if self.due <= self.now else self.due - self.now
            self.now = min(self.now + soon, end)
            self.bring()
            if check:
                self.check()

    def restart(self):
        self.looked.clear()


def test_ten_years_in_which_everybody_always_believes_everybody():
    world = World()
    world.live(3650)
    kinds = [kind for _, kind in world.steps]
    assert kinds[:6] == [Fresh, Prepare, Announce, Promote, Tidy, Prepare]
    assert kinds.count(Fresh) == 1
    at = [round((when - T0) / DAY) for when, _ in world.steps[:5]]
    assert at == [0, 639, 639, 639, 730]
    assert len(x509.load_pem_x509_certificates(world.authority[CA])) <= 2
    assert set(world.authority) <= {CA, CERTIFICATE, KEY, "next.crt", NEXT_KEY, ANNOUNCED}, "nothing piles up"


@pytest.mark.parametrize("seed", range(3))
def test_restarts_at_any_time_change_nothing(seed):
    print(f"seed {seed}")
    chance, world = random.Random(seed), World()
    world.live(1)
    world.now = T0 + 638 * DAY
    world.turn()
    world.now += 1
    for _ in range(60):
        world.now += 600
        world.bring()
    for _ in range(400):
        world.turn()
        world.now += chance.choice((30.0, 60.0, 600.0))
        world.bring()
        world.check()
        if chance.random() < 0.3:
            world.restart()
    assert [kind for _, kind in world.steps].count(Fresh) == 1


def prepared(broken=()):
    world = World()
    world.live(638)
    world.broken = set(broken)
    while [kind for _, kind in world.steps][-1] is not Prepare:
        world.now += 3600
        world.turn()
        world.bring()
    return world


def test_the_next_one_does_not_sign_before_all_know_it():
    world = prepared({"fraud"})
    world.live(5)
    assert [kind for _, kind in world.steps][-1] is Prepare
    world.broken = set()
    world.live(1)
    assert [kind for _, kind in world.steps][-2:] == [Announce, Promote]
    announced, promoted = (when for when, _ in world.steps[-2:])
    assert promoted - announced >= SETTINGS.overlap_s


def test_one_that_never_knows_does_not_hold_it_up_for_ever():
    world = prepared({"fraud"})
    world.live(75, check=False)
    assert [kind for _, kind in world.steps][-1] is Promote
    world.check(but=("fraud",))


def test_a_clock_that_goes_back_an_hour_or_a_month_loses_nothing():
    for back_s in (3600.0, 30 * DAY):
        world = prepared()
        world.live(0.02)
        world.now -= back_s
        world.live(0.5, check=False)
        world.live(35, check=False)
        world.check()
        assert [kind for _, kind in world.steps].count(Fresh) == 1


def test_a_clock_a_year_ahead_for_a_while_is_mended_once_it_is_right():
    world = World()
    world.live(1)
    world.now += 800 * DAY
    world.live(0.2, check=False)
    world.now -= 800 * DAY
    world.live(0.2, check=False)
    world.check()
    assert [kind for _, kind in world.steps] == [Fresh, Fresh, Fresh]


def test_an_authority_that_was_deleted_is_followed_while_all_still_believe_what_is_shown():
    world = World()
    world.live(1)
    shown = {name: data[CERTIFICATE] for name, data in world.secrets.items()}
    world.authority = None
    world.live(1)
    assert [kind for _, kind in world.steps] == [Fresh, Fresh]
    assert {name: data[CERTIFICATE] for name, data in world.secrets.items()} == shown
    assert len(x509.load_pem_x509_certificates(world.authority[CA])) == 2
    # With the gateways' Secret too nobody is believed who was: what an admin does when a key has leaked.
    world.authority = None
    del world.secrets["gateway"]
    world.turn()
    assert len(x509.load_pem_x509_certificates(world.authority[CA])) == 1
    for name, data in world.secrets.items():
        assert data[CERTIFICATE] != shown[name]
        assert not verifies(data[CA], shown[name])


def test_certificates_are_renewed_with_ten_days_left_and_never_outlive_their_authority():
    world = World()
    world.live(1)
    first = world.secrets["mood"][CERTIFICATE]
    world.live(18)
    assert world.secrets["mood"][CERTIFICATE] == first
    world.live(2)
    assert world.secrets["mood"][CERTIFICATE] != first
    for before, after in pairwise(sorted(world.steps)):
        assert before[0] <= after[0]
    authority = x509.load_pem_x509_certificate(world.authority[CERTIFICATE])
    late = authority.not_valid_after_utc.timestamp() - 5 * DAY
    pair = signed(("a.svc",), world.authority[CERTIFICATE], world.authority[KEY], late, SETTINGS.leaf_life_s)
    assert x509.load_pem_x509_certificate(pair[0]).not_valid_after_utc == authority.not_valid_after_utc


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda data: {}, "no usable"),
        (lambda data: {**data, CERTIFICATE: b"no pem"}, "no usable"),
        (lambda data: {**data, KEY: carried_out(Fresh(""), None, T0)[KEY]}, "another certificate"),
        (lambda data: {**data, CA: carried_out(Fresh(""), None, T0)[CA]}, "not in the bundle"),
    ],
)
def test_what_can_not_be_used_is_made_anew(spoil, why):
    data = carried_out(Fresh(""), None, T0)
    step = plan(spoil(data), True, T0 + 1)
    assert isinstance(step, Fresh)
    assert why in step.why
    assert isinstance(plan(carried_out(step, spoil(data), T0 + 1), True, T0 + 1), Wait)


def test_a_replicas_certificate_is_no_clients_and_the_gateways_no_servers(tmp_path):
    """Else any service's pod could pose as the gateway, whose word replicas take."""
    authority = carried_out(Fresh(""), None, time.time())
    (tmp_path / "ca.crt").write_bytes(authority[CA])

    def context(purpose, names, usage):
        certificate, key = signed(names, authority[CERTIFICATE], authority[KEY], time.time(), DAY, usage)
        for name, data in ((CERTIFICATE, certificate), (KEY, key)):
            (tmp_path / name).write_bytes(data)
        made = ssl.SSLContext(purpose)
        made.verify_mode = ssl.CERT_REQUIRED
        made.load_verify_locations(tmp_path / "ca.crt")
        made.load_cert_chain(tmp_path / CERTIFICATE, tmp_path / KEY)
        return made

    server, client = ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT
    replica = context(server, NAMES["mood"], SERVER)
    assert shaken(replica, context(client, NAMES["gateway"], CLIENT), "mood.shop.svc") == "ok"
    assert "mismatch" in shaken(replica, context(client, NAMES["gateway"], CLIENT), "fraud.shop.svc").lower()
    assert "purpose" in shaken(replica, context(client, NAMES["gateway"], SERVER), "mood.shop.svc")
    assert "purpose" in shaken(
        context(server, NAMES["mood"], CLIENT), context(client, (GATEWAY,), CLIENT), "mood.shop.svc"
    )


def shaken(server_context, client_context, name):
    here, there = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(here, there, server_hostname=name)
    server = server_context.wrap_bio(there, here, server_side=True)
    for _ in range(10):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                return str(error)
    try:
        server.write(b"x")
        return "ok" if client.read(1) == b"x" else "nothing came"
    except ssl.SSLError as error:
        return str(error)


def test_tidy_keeps_the_one_that_signs():
    world = prepared()
    world.live(200)
    assert Tidy in [kind for _, kind in world.steps]
    (only,) = x509.load_pem_x509_certificates(world.authority[CA])
    assert only == x509.load_pem_x509_certificate(world.authority[CERTIFICATE])

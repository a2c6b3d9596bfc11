"""The authority behind `gateway.replicaTls`, which keeps its key since services come at any time; and when it and what
it signs is followed by the next one.

What verifiers trust (`ca.crt`) is a bundle that stands in every Secret beside the certificate to show. The order:

    Fresh      no usable authority is there: a new one; authorities that are still good stay in the bundle
    Prepare    an eighth of its life is left: the next one is made and published, and signs nothing
    Announce   every Secret that was made holds the new bundle: from now on kubelets bring it
    Promote    `overlap_s` later: it signs; the old key is gone, what it signed stays good until its own renewal
    Tidy       an authority of the bundle has expired, and so has all that it signed: it leaves
    Wait       until then nothing is to be done

A Secret that can't be written doesn't hold that up for ever: at the latest a certificate's life before the old
authority ends, the next one signs. `plan` and `leaf_wanted` decide, with `now` in seconds since 1970.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from cryptography import x509

from plimsoll.backends.kubernetes.operator.certificates import (
    NEXT_CERTIFICATE,
    NEXT_KEY,
    Fresh,
    Prepare,
    Promote,
    Tidy,
    Wait,
)
from plimsoll.backends.kubernetes.operator.signing import (
    BACKDATED,
    CA,
    CERTIFICATE,
    KEY,
    Data,
    bundle_of,
    ends_at,
    made_at,
    names_of,
    new_authority,
    read_bundle,
    read_pair,
    signed_by,
)

ANNOUNCED = "next.announced"  # when every Secret held the bundle with the next authority, seconds since 1970
_KEPT = 3  # authorities of a bundle beside the one that signs: more come only of clocks that jump
_AHEAD_S = 2 * BACKDATED.total_seconds()  # made so far in the future: by a clock that has been put right since
_UNUSABLE = (ValueError, KeyError, TypeError)


@dataclass(frozen=True, slots=True)
class AuthoritySettings:
    """`leaf_…`: of what it signs. `overlap_s`: kubelets bring a changed Secret within two minutes."""

    life_s: float = 2 * 365 * 86400.0
    renew_left_s: float = 91 * 86400.0
    leaf_life_s: float = 30 * 86400.0
    leaf_renew_left_s: float = 10 * 86400.0
    overlap_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class Announce:
    pass


Step: TypeAlias = Fresh | Prepare | Announce | Promote | Tidy | Wait


def plan(data: Data | None, everywhere: bool, now: float, settings: AuthoritySettings | None = None) -> Step:
    """`data`: what the authority's Secret holds, None without one. `everywhere`: whether each Secret with a certificate
    holds its bundle."""
    settings = settings or AuthoritySettings()
    if data is None:
        return Fresh("there is none")
    try:
        signer, bundle = read_pair(data), read_bundle(data[CA])
    except _UNUSABLE as error:
        return Fresh(f"the Secret holds no usable authority ({error or type(error).__name__})")
    if signer not in bundle:
        return Fresh("it is not in the bundle")
    if now >= ends_at(signer):
        return Fresh("it has expired")
    if _of_the_future(signer, now):
        return Fresh("it begins later than now")
    if NEXT_CERTIFICATE in data:
        return _following(data, signer, bundle, everywhere, now, settings)
    due = ends_at(signer) - settings.renew_left_s
    if now >= due:
        return Prepare()
    others = [ends_at(one) for one in bundle if one != signer]
    if any(now >= end for end in others):
        return Tidy()
    return Wait(min([due, *others]))


def _following(
    data: Data,
    signer: x509.Certificate,
    bundle: list[x509.Certificate],
    everywhere: bool,
    now: float,
    settings: AuthoritySettings,
) -> Step:
    try:
        following = read_pair(data, NEXT_CERTIFICATE, NEXT_KEY)
    except _UNUSABLE:
        return Prepare()
    if following not in bundle or _of_the_future(following, now):
        return Prepare()
    latest = ends_at(signer) - settings.leaf_life_s
    if now >= latest:
        return Promote()
    try:
        announced = float(data.get(ANNOUNCED, b""))
    except ValueError:
        announced = now + 1
    if announced > now:  # not yet, or by a clock that was ahead
        return Announce() if everywhere else Wait(latest)
    ready = announced + settings.overlap_s
    return Promote() if now >= ready else Wait(min(ready, latest))


def carried_out(
    step: Step, data: Data | None, now: float, settings: AuthoritySettings | None = None, known: bytes = b""
) -> dict[str, bytes]:
    """The Secret's data after `step`. `known`: a bundle that verifiers have, from where there is no `data`."""
    settings = settings or AuthoritySettings()
    held = dict(data or {})
    match step:
        case Fresh():
            certificate, key = new_authority(now, settings.life_s)
            return {CA: _joined(certificate, held.get(CA) or known, now), CERTIFICATE: certificate, KEY: key}
        case Prepare():
            certificate, key = new_authority(now, settings.life_s)
            held.pop(ANNOUNCED, None)
            bundle = held[CERTIFICATE] + held[CA]
            return held | {NEXT_CERTIFICATE: certificate, NEXT_KEY: key, CA: _joined(certificate, bundle, now)}
        case Announce():
            return held | {ANNOUNCED: b"%d" % now}
        case Promote():
            held.pop(ANNOUNCED, None)
            return held | {CERTIFICATE: held.pop(NEXT_CERTIFICATE), KEY: held.pop(NEXT_KEY)}
        case Tidy():
            return held | {CA: _joined(held[CERTIFICATE], held[CA], now)}
        case Wait():
            return held


def leaf_wanted(
    leaf: Data | None, authority: Data, names: Sequence[str], now: float, settings: AuthoritySettings | None = None
) -> Fresh | Wait:
    """Whether the certificate in a Secret is to be made anew, or until when it is good. What `ca.crt` says there is not
    looked at."""
    settings = settings or AuthoritySettings()
    if not leaf or CERTIFICATE not in leaf:
        return Fresh("there is none")
    try:
        shown = read_pair(leaf)
    except _UNUSABLE as error:
        return Fresh(f"the Secret holds no usable certificate ({error or type(error).__name__})")
    if names_of(shown) != set(names):
        return Fresh(f"it is not for {names[0]}")
    if not any(signed_by(shown, one) for one in read_bundle(authority[CA])):
        return Fresh("its authority is not in the bundle")
    if _of_the_future(shown, now):
        return Fresh("it begins later than now")
    due = ends_at(shown) - settings.leaf_renew_left_s
    return Fresh("it ends soon") if now >= due else Wait(due)


# --- parts ------------------------------------------------------------------------------------------------------------


def _joined(newest: bytes, bundle: bytes, now: float) -> bytes:
    """`newest` and the authorities of `bundle` that are still good; of too many the oldest go."""
    first = x509.load_pem_x509_certificate(newest)
    try:
        others = [one for one in read_bundle(bundle) if one != first and now < ends_at(one)]
    except ValueError:
        others = []
    others = sorted(dict.fromkeys(others), key=made_at)[-_KEPT:]
    return bundle_of([first, *others])


def _of_the_future(one: x509.Certificate, now: float) -> bool:
    return made_at(one) > now + _AHEAD_S

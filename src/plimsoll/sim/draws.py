"""Random numbers drawn ahead, in numpy, from named streams of one seed: what batches take, how long starts take.

A stream is known by (seed, service, name), so that what one part of the world draws changes nothing for the others.
"""

from collections.abc import Callable, Iterator
from itertools import chain, repeat
from math import log, sqrt

import numpy as np

from plimsoll.insight.profile import Profile

_AHEAD = 8192
_Z90 = 1.2815515655446004  # the standard normal's 90th percentile
_Z99 = 2.3263478740408408
SERVICE_TIMES, STARTS, ROUTES, FAULTS, BESIDE = 1, 2, 3, 4, 5

Draw = Callable[[], float]


def generator(seed: int, service: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed & (2**64 - 1), service, stream])))


def ahead(make: Callable[[int], "np.ndarray[tuple[int], np.dtype[np.float64]]"]) -> Draw:
    """One number a call, of arrays that `make(count)` draws. Costs 40 ns a number, where numpy's own single draws cost
    a microsecond."""
    lists: Iterator[list[float]] = (make(_AHEAD).tolist() for _ in repeat(None))
    return chain.from_iterable(lists).__next__


def noise(spread: float, kind: str, random: np.random.Generator) -> Draw | None:
    """What a batch's time is multiplied by: mean 1, standard deviation `spread`. `kind`: "lognormal", or "exponential"
    (deviation 1 whatever `spread` is; for closed forms). None: always 1."""
    if kind == "exponential":
        return ahead(random.standard_exponential)
    if kind != "lognormal":
        raise ValueError(f"service times are lognormal or exponential, not {kind!r}")
    if spread <= 0:
        return None
    variance = log(1 + spread * spread)
    return ahead(lambda count: np.exp(sqrt(variance) * random.standard_normal(count) - variance / 2))


def batch_time(profile: Profile, kind: str, random: np.random.Generator) -> Callable[[int], float]:
    """What a batch of so many items takes, seconds: the profile's truth, which policies have to learn."""
    if profile.lognormal is not None:
        one = profile.lognormal
        times = ahead(lambda count: one.loc_s + one.scale_s * np.exp(one.shape * random.standard_normal(count)))
        return lambda size: size * times()
    a, c = profile.a_s, profile.c_s
    factor = noise(profile.spread, kind, random)
    if factor is None:
        return lambda size: a + c * size
    return lambda size: (a + c * size) * factor()


def beside(
    profile: Profile, network_s: float, random: np.random.Generator
) -> Callable[[int], "float | np.ndarray[tuple[int], np.dtype[np.float64]]"]:
    """What so many requests spend beside their batches, each: lognormal through the profile's median and 90th
    percentile, and beyond that through its 99th; constant where there is none."""
    median, p90, p99 = profile.beside_s(network_s), profile.beside_p90_s, profile.beside_p99_s
    if p90 is None or median <= 0 or p90 <= median:
        return lambda count: median
    deviation = log(p90 / median) / _Z90
    steeper = 0.0 if p99 is None else max(log(p99 / p90) / (_Z99 - _Z90), 0.0) - deviation

    def draw(count: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        z = random.standard_normal(count)
        return np.asarray(median * np.exp(deviation * z + steeper * np.maximum(z - _Z90, 0.0)))

    return draw


def start_time(profile: Profile, random: np.random.Generator) -> Draw:
    """How long a replica takes to get ready: lognormal through the profile's median and 90th percentile; constant where
    there is none."""
    median, p90 = profile.cold_s, profile.cold_p90_s
    if p90 is None or median <= 0 or p90 <= median:
        return lambda: median
    deviation = log(p90 / median) / _Z90
    return lambda: median * float(np.exp(deviation * random.standard_normal()))

"""What one replica does, learned by running it: `plimsoll profile` writes it, `plan` and the scaler start from it."""

import json
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, get_args

from plimsoll.core.errors import UserError
from plimsoll.core.service_time import ServiceTime

VERSION = 1

_LEAST = {"max_batch": 1}
_MOST = 1e15  # seconds or bytes: beyond it is a slip of the pen


@dataclass(frozen=True, slots=True)
class LogNormal:
    """scipy's `lognorm(shape, loc, scale)`, seconds: loc + scale·exp(shape·N(0, 1)). What a single request takes where
    no line fits it (`max_batch` 1)."""

    shape: float
    loc_s: float
    scale_s: float

    @property
    def mean_s(self) -> float:
        from math import exp

        return self.loc_s + self.scale_s * exp(self.shape * self.shape / 2)


@dataclass(frozen=True, slots=True)
class Profile:
    """`a_s`, `c_s`: t(b) = a + c·b; `spread`: a batch's relative standard deviation. `overhead_s`: what a request
    spends beside its batch at a replica; `gateway_s`: what a gateway and the way through it add, as a client sees it;
    None: not measured. Both are medians, `beside_p90_s` and `beside_p99_s` percentiles of their sum; None: constant.
    `wake_s`: what a batch takes longer where the replica was at rest (threads slept, caches went cold).
    `cold_s`, `cold_p90_s`: from asking for a replica to its first answer. `cpu`: cores busy while a batch runs.
    `max_batch`: the largest seen to fit, None: no bound."""

    a_s: float
    c_s: float
    spread: float = 0.2
    overhead_s: float = 0.0
    cold_s: float = 8.0
    cold_p90_s: float | None = None
    cpu: float = 1.0
    memory_bytes: int = 0
    max_batch: int | None = None
    lognormal: LogNormal | None = None
    name: str = ""
    revision: str = ""
    machine: str = ""
    model: str = ""  # digest of the model's files
    gateway_s: float | None = None
    beside_p90_s: float | None = None
    beside_p99_s: float | None = None
    wake_s: float = 0.0

    def beside_s(self, network_s: float = 0.0) -> float:
        """The median of what a request spends beside its batch. `network_s`: one way to a replica, where no gateway was
        measured."""
        return self.overhead_s + (2 * network_s if self.gateway_s is None else self.gateway_s)

    @property
    def service_time(self) -> ServiceTime:
        """As a policy sees it: learned from many batches."""
        if self.lognormal is not None:
            return ServiceTime(0.0, self.lognormal.mean_s, self.lognormal.mean_s * 0.3, 1000)
        return ServiceTime(self.a_s, self.c_s, self.spread * (self.a_s + self.c_s), 1000)

    def to_json(self) -> str:
        return json.dumps({"plimsollProfile": VERSION, **asdict(self)}, indent=2) + "\n"


def read_profile(text: str, name: str) -> Profile:
    """Raises UserError that names the file, the key and the remedy."""
    remedy = f"{name}: not a profile; make one with: plimsoll profile FILE"
    try:
        found: Any = json.loads(text)
    except ValueError as error:
        raise UserError(f"{remedy} ({error})") from error
    if not isinstance(found, dict) or found.pop("plimsollProfile", None) != VERSION:
        raise UserError(remedy)
    law = found.pop("lognormal", None)
    wrong = _amiss(found, Profile, "")
    if isinstance(law, dict):
        wrong += _amiss(law, LogNormal, "lognormal.")
    elif law is not None:
        wrong.append(f"lognormal: {law!r}; expected shape, loc_s and scale_s")
    elif not wrong and found["a_s"] + found["c_s"] <= 0:
        wrong.append("a_s and c_s: a batch takes no time at all")
    if wrong:
        raise UserError(f"{remedy} ({'; '.join(wrong[:3])})")
    return Profile(**found, lognormal=LogNormal(**law) if law is not None else None)


def _amiss(found: dict[str, Any], kind: type[Profile | LogNormal], where: str) -> list[str]:
    """Which keys are missing or unknown, and which values are none of `kind`'s: figures are 0 or more."""
    known = {field.name: field for field in fields(kind)}
    missing = [name for name, field in known.items() if field.default is MISSING and name not in found]
    wrong = [f"{where}{name}: missing" for name in missing]
    for name, value in found.items():
        if name not in known or name == "lognormal":
            wrong.append(f"{where}{name}: no key of a profile")
        elif not _fits(name, value, known[name].type):
            expected = "text" if known[name].type is str else f"{_LEAST.get(name, 0)} or more"
            wrong.append(f"{where}{name}: {value!r}; expected {expected}")
    return wrong


def _fits(name: str, value: object, wanted: object) -> bool:
    kinds = get_args(wanted) or (wanted,)
    if value is None or isinstance(value, str):
        return type(value) in kinds
    if isinstance(value, bool) or not isinstance(value, int | float) or not _LEAST.get(name, 0) <= value < _MOST:
        return False
    return float in kinds or (int in kinds and value == int(value))

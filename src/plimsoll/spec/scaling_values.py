"""The kinds of text that scaling and costs are written in: money, currencies, targets, times of the clock."""

import re
import zoneinfo
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from plimsoll.core.units import parse_share
from plimsoll.spec.values import shown

_MONEY = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?\Z")
_CURRENCY = re.compile(r"[A-Z]{3}\Z")
_TARGET = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?%?\Z")
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}\Z")

_A_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)

MONEY_PATTERN = r"^[0-9]+(\.[0-9]+)?$"


def _check_money(value: object) -> object:
    """Text, since 0.1 + 0.2 in floats isn't 0.3, and custom resources have no numbers with fractions."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f'{value} needs quotes, as money has; write "{value}"')
    if isinstance(value, str) and not _MONEY.match(value):
        raise ValueError(f'{shown(value)} is no amount of money; expected digits such as "4.00", the currency apart')
    return value


def _check_positive_money(value: str) -> str:
    if float(value) <= 0:
        raise ValueError(f'{shown(value)} is no budget; expected more than 0, such as "4.00"')
    return value


def _check_currency(value: str) -> str:
    if not _CURRENCY.match(value):
        raise ValueError(f"{shown(value)} is no currency; expected three letters, as ISO 4217 has them: USD, EUR")
    return value


def _check_target(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, float):
        raise ValueError(f'{value} needs quotes; write "{value}"')
    if isinstance(value, str):
        if not _TARGET.match(value) or float(value.rstrip("%")) <= 0:
            raise ValueError(f'{shown(value)} is no target; expected a share above 0 such as 70%, or a number: "400"')
        if value.endswith("%"):
            parse_share(value)
    return value


def _check_cron(value: str) -> str:
    from cronsim import CronSim, CronSimError  # only files with a schedule need it

    if len(value.split()) != 5 or len(value) > 256:
        raise ValueError(f"{shown(value)} is no cron line; expected minute, hour, day, month, weekday: 0 8 * * 1-5")
    try:
        next(CronSim(value, _A_MOMENT))
    except CronSimError as error:
        reason = str(error).lower()
        raise ValueError(f"{shown(value)} is no cron line ({reason}); expected one such as 0 8 * * 1-5") from None
    except StopIteration:
        raise ValueError(f"{shown(value)} never comes; expected a day that its months have") from None
    return value


def _check_zone(value: str) -> str:
    found = None
    if _ZONE.match(value) and len(value) <= 64:
        try:
            found = zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            found = None
    if found is None:
        raise ValueError(f"{shown(value)} is no time zone known here; expected a name such as Europe/Berlin or UTC")
    return value


_MONEY_SCHEMA = WithJsonSchema({"type": "string", "pattern": MONEY_PATTERN})

Money = Annotated[str, BeforeValidator(_check_money), _MONEY_SCHEMA]
PositiveMoney = Annotated[str, BeforeValidator(_check_money), AfterValidator(_check_positive_money), _MONEY_SCHEMA]
Currency = Annotated[
    str, AfterValidator(_check_currency), WithJsonSchema({"type": "string", "pattern": "^[A-Z]{3}$"})
]  # fmt: skip
Target = Annotated[
    str,
    BeforeValidator(_check_target),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": r"^[0-9]+(\.[0-9]+)?%?$",
            "x-kubernetes-int-or-string": True,
        }
    ),
]
CronText = Annotated[str, AfterValidator(_check_cron), WithJsonSchema({"type": "string", "maxLength": 256})]
TimeZone = Annotated[str, AfterValidator(_check_zone), WithJsonSchema({"type": "string", "maxLength": 64})]

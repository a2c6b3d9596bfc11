"""Numbers as Kubernetes writes quantities: whole, or in the largest of thousandths, millionths and billionths that
keeps them."""

from math import isfinite

_KEEPS = 1e-4  # of the value


def quantity(value: float) -> str:
    """`12`, `12200m`, `300u`. Raises ValueError for what is no number."""
    if not isfinite(value):
        raise ValueError(f"{value} is no quantity")
    if value == int(value):
        return str(int(value))
    for suffix, scale in (("m", 1e3), ("u", 1e6), ("n", 1e9)):
        scaled = round(value * scale)
        if abs(scaled / scale - value) <= _KEEPS * abs(value):
            return f"{scaled}{suffix}"
    return "0"

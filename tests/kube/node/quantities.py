"""Kubernetes quantities as numbers, and what a pod asks for."""

_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "m": 1e-3,
          "u": 1e-6, "n": 1e-9}  # fmt: skip


def number(quantity):
    text = str(quantity)
    for unit, size in _UNITS.items():
        if text.endswith(unit):
            return float(text[: -len(unit)]) * size
    return float(text)


def requests(spec):
    """{resource: amount}: the sum of containers, or the largest init container where that is more."""
    total = {"pods": 1.0}
    for container in spec.get("containers") or ():
        for name, amount in _asked(container).items():
            total[name] = total.get(name, 0) + amount
    for container in spec.get("initContainers") or ():
        for name, amount in _asked(container).items():
            total[name] = max(total.get(name, 0), amount)
    return total


def _asked(container):
    resources = container.get("resources") or {}
    # extended resources may stand in limits alone
    found = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {name: number(amount) for name, amount in found.items()}

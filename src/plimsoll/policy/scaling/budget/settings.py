"""The budget scaler's settings as text: `budget:price=20,allowed=0.5%`."""

from dataclasses import fields, replace

from plimsoll.policy.scaling.budget.scaler import BudgetSettings


def parse_settings(text: str) -> BudgetSettings:
    """Raises ValueError that names the part that is wrong and what there is."""
    names = {field.name.replace("_", "-"): field.name for field in fields(BudgetSettings)}
    found = BudgetSettings()
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        if name.strip() not in names:
            raise ValueError(f"budget has no setting {name!r}; it has {', '.join(names)}")
        try:
            number = float(value.rstrip("%")) / (100 if value.endswith("%") else 1)
        except ValueError:
            raise ValueError(f"{name} is a number, not {value!r}") from None
        if not 0.0 <= number < 1e6:
            raise ValueError(f"{name} must not be negative: {value}")
        found = replace(found, **{names[name.strip()]: number})
    if not 0.0 < found.allowed < 1.0:
        raise ValueError(f"allowed lies between 0 and 100%, not {found.allowed:%}")
    return found

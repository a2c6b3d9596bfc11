"""The budget scaler: the fewest replicas whose predicted tail stays inside the budget. See docs/scaling.md."""

from plimsoll.policy.scaling.budget.scaler import BudgetScaling, BudgetSettings
from plimsoll.policy.scaling.budget.settings import parse_settings
from plimsoll.policy.scaling.budget.tail import Tail, tail_of

__all__ = ["BudgetScaling", "BudgetSettings", "Tail", "parse_settings", "tail_of"]

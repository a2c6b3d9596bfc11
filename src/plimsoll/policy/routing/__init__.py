"""Decisions about where a request goes, and what becomes of it when its replica is lost, slow or silent."""

from plimsoll.policy.routing.affinity import Rendezvous
from plimsoll.policy.routing.budget import RetryBudget
from plimsoll.policy.routing.choice import LeastWait, TwoChoices
from plimsoll.policy.routing.fleet import Fleet, Overloaded
from plimsoll.policy.routing.hedging import Hedging
from plimsoll.policy.routing.load import ReplicaLoad
from plimsoll.policy.routing.outliers import Change, Health, Outliers, OutlierSettings
from plimsoll.policy.routing.overdue import Overdue
from plimsoll.policy.routing.quarantine import Quarantine
from plimsoll.policy.routing.reach import Reach
from plimsoll.policy.routing.retry import GiveUp, Retry, after_loss

__all__ = [
    "Change",
    "Fleet",
    "GiveUp",
    "Health",
    "Hedging",
    "LeastWait",
    "OutlierSettings",
    "Outliers",
    "Overdue",
    "Overloaded",
    "Quarantine",
    "Reach",
    "Rendezvous",
    "ReplicaLoad",
    "Retry",
    "RetryBudget",
    "TwoChoices",
    "after_loss",
]

"""The forecast that a simulated service's policy is given: the live one, fed the same way."""

from plimsoll.insight.forecast import Forecaster


def new_forecast(epoch_s: float) -> Forecaster:
    """`epoch_s`: Unix seconds where the world's clock shows 0."""
    return Forecaster(epoch_s)

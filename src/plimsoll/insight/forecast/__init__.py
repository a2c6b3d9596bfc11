"""What will arrive: online forecasts of a service's rate, with how wrong they have been. See docs/scaling.md."""

from plimsoll.insight.forecast.forecaster import Forecaster
from plimsoll.insight.forecast.track import QUANTILES

__all__ = ["QUANTILES", "Forecaster"]

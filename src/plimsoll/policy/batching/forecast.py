"""How many items of others go before a newcomer's: those that wait, and those that come while it does."""

from collections.abc import Sequence
from math import sqrt

from plimsoll.policy.batching.lanes import Rival

_MOST = 0.9  # of the capacity that is believed to go to others who come later


def going_first(rivals: Sequence[Rival], own: float, rest_s: float, item_s: float) -> float:
    """Items. `own`: the newcomer's and what goes before it in its own lane; `rest_s`: of the batch under way; `item_s`:
    what one item takes in a batch of the usual size.

    Who is behind on its turns takes them all. Of each other, what comes meanwhile goes first as well, which makes the
    wait longer, so that still more comes: wait = (rest + item·known) / (1 - item·rate), solved in three steps because
    a longer wait may put more of them behind on their turns.
    """
    within_s = rest_s + own * item_s
    for _ in range(3):
        known, rate = own, 0.0
        for waits, comes, turns in rivals:
            if waits + comes * within_s < turns:
                known += waits
                rate += comes
            else:
                known += turns
        within_s = (rest_s + known * item_s) / (1.0 - min(rate * item_s, _MOST))
    first = come = 0.0
    for waits, comes, turns in rivals:
        more = comes * within_s
        if waits + more < turns:
            first += waits + more
            come += more
        else:
            first += turns
    return first + 2.0 * sqrt(come)  # two deviations more than the mean, as of Poisson arrivals

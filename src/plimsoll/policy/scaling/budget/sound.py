"""Which looks make sense. A clock, a count or a time that is no number must not spoil what was learned: the scaler
holds, and says which figure it was."""

from plimsoll.core.scaling import Observation

_MOST = 1e12  # requests, replicas, seconds: beyond it something has overflowed


def nonsense(seen: Observation) -> str | None:
    """What is wrong with a look, in words; None: nothing is."""
    time, lead = seen.service_time, seen.lead
    figures = (
        ("the clock", seen.now, -_MOST),
        ("seconds since the last look", seen.over_s, 1e-9),
        ("requests that arrived", seen.arrived or 0, 0),
        ("late requests", seen.late, 0),
        ("replicas wanted", seen.wanted, 0),
        ("starts that failed", lead.failed, 0),
        ("the model's seconds a batch", time.a_s, 0.0),
        ("the model's seconds an item", time.c_s, 0.0),
        ("the model's seconds for one", time.a_s + time.c_s, 1e-12 if time.samples else 0.0),
        ("the spread of the model's seconds", time.sd_s, 0.0),
        ("seconds to start", max(lead.start_s, lead.start_p90_s), 0.0),
        ("seconds to start", lead.start_s + lead.start_p90_s, 0.0),
        ("seconds for a node", max(lead.node_s, lead.node_p90_s), 0.0),
        ("seconds for a node", lead.node_s + lead.node_p90_s, 0.0),
    )
    for name, value, least in figures:
        if not least <= value <= _MOST:
            return f"{name}: {min(max(value, -1e15), 1e15):.6g}"
    return None

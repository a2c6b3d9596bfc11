"""When an answer is still the model's word, and when it is only better than none."""


def is_fresh(stored_at: float, ttl_s: float, now: float) -> bool:
    """Younger than `ttl_s`. Asked with the `ttl_s` of the moment, so that a shorter one holds for what is kept already.
    What comes from the future (another machine's clock) is as young as can be; its store forgets it in time."""
    return now - stored_at < ttl_s

"""Keeps what services became in the cluster as it should be.

    seen        what the watches have shown of one service, condensed: the input of every decision
    rolling     from revision to revision: roll(seen, now) -> acts
    judging     conditions, with reasons in words
    status      what of it is written, and when
    fields      which fields are ours, and whether somebody changed them
    queue       one service at a time each, some services at once, later and later after failures
    lease       of several operators one acts (the controllers use it, too)
    certificates, renewing   who may speak for Plimsoll's own addresses, and for how long
    apply       server-side apply of rendered objects, and the repair of drift
    operator    the host: watches feed the queue, workers carry decisions out

What decides is plain and gets `now`; `apply`, `renewing`, `lease.Elected` and `operator` act.
"""

"""Keeps what services became in the cluster as it should be.

What decides is plain and gets `now`; it asks nobody:

    seen, cache          what the watches have shown of one service, condensed: the input of every decision
    wanting              what a spec asks for, understood once a generation
    rolling              from revision to revision: roll(seen, wanted, now) -> acts
    judging, capacity    conditions, with reasons in words
    status, revisions    what of it is written, and when
    fields               which fields are ours, and whether somebody changed them
    queue                one service at a time each, some services at once, later and later after failures
    certificates, signing   who may speak for Plimsoll's own addresses, and for how long

What acts:

    watches, world, figures   what is there: objects, what the cluster can do, what controllers measured
    keeper               one look at one service, as a list of steps
    apply                server-side apply of rendered objects, with the answers remembered
    lease                of several operators one acts (the controllers use it, too)
    renewing, authority, replica_certificates   certificates as Secrets
    plain, news, telling    what Platforms and Tenants are told; what becomes a Kubernetes Event
    operator             the host: watches feed the queue, workers carry decisions out
"""

"""Kubernetes: what a service becomes there, and who keeps it so.

    names, objects      the words and the shape of objects; no client, no numpy
    render/             a service as plain objects: a pure function
    crd/                the kinds as custom resource definitions, from the spec's own schema
    install/            the objects of Plimsoll itself: operator, controller, gateway, roles; preflight, upgrade, adopt
    operator/           keeps rendered objects in the cluster: watches tell, pure functions decide, server-side apply
    signals/            what autoscalers read: external and custom metrics, KEDA's external scaler
    artifacts/          models as artifacts: pack, push, fetch with checksums
    backend             replicas as pods, behind the `Backend` port

Everything but `backend`, `signals` and the hosts of `operator` is pure. The operator imports neither numpy nor gRPC: a
thousand services must fit in 150 MB.
"""

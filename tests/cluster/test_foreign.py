"""Kinds that others bring, installed while the operator runs: it makes objects of them, leaves them alone while nothing
changes, and they go with their service. On both API servers; with the definitions that their projects publish where
PLIMSOLL_FOREIGN_CRDS names their folder, else with stand-ins."""

import contextlib

import pytest
from tests.cluster.definitions import GATEWAY_API, KEDA, MONITORING, define, foreign, undefine
from tests.cluster.services import OPERATOR_ALONE, service, until_said
from tests.cluster.system import SYSTEM, condition, said
from tests.kube.errors import ApiError

VALUES = OPERATOR_ALONE
pytestmark = pytest.mark.timeout(400)

ROUTE, GRANT, SCALED = (GATEWAY_API + "/v1", "HTTPRoute"), (GATEWAY_API + "/v1beta1", "ReferenceGrant"), (
    KEDA + "/v1alpha1", "ScaledObject")  # fmt: skip
PODS, SERVICES = (MONITORING + "/v1", "PodMonitor"), (MONITORING + "/v1", "ServiceMonitor")
CLAIM = ("resource.k8s.io/v1", "ResourceClaimTemplate")
INGRESS = ("networking.k8s.io/v1", "Ingress")
BY_INGRESS = {
    "gateway": {
        "hostnameTemplate": "{name}.{namespace}.infer.example.com",
        "tls": {"issuerRef": {"name": "acme", "kind": "ClusterIssuer"}},
    },
    "acceleratorClasses": [{"name": "any", "deviceClassName": "gpu.example.com"}],
    "monitoring": "PodMonitor",
}
BY_GATEWAY = BY_INGRESS | {
    "gateway": {
        "hostnameTemplate": "{name}.{namespace}.infer.example.com",
        "parentRefs": [{"name": "public", "namespace": "gateways"}],
    },
    "monitoring": "ServiceMonitor",
}


def platform(spec):
    return {"apiVersion": "plimsoll.dev/v1alpha1", "kind": "Platform", "metadata": {"name": "default"}, "spec": spec}


def wanted(space, most):
    """It scales by KEDA, on a device that its driver hands out."""
    scaling = {"minReplicas": 1, "maxReplicas": most, "writer": "KEDA"}
    return service(space, scaling=scaling, accelerator={"class": "any"})


@pytest.fixture
def bare(system):
    """Afterwards there is no Platform and no kind of others, as before."""
    yield

    async def away(api):
        with contextlib.suppress(ApiError):
            await api.delete("Platform", "default", api_version="plimsoll.dev/v1alpha1")
        await undefine(api, foreign())

    system.run(away)


class Objects:
    """A service's own."""

    def __init__(self, api, space):
        self.api, self.space = api, space

    async def until(self, sort, test=lambda one: one is not None, name="mood", namespace=None):
        api_version, kind = sort
        return await self.api.until(kind, name, namespace or self.space, test=test, api_version=api_version,
                                    within_s=120)  # fmt: skip

    async def gone(self, sort, **where):
        await self.until(sort, lambda one: one is None, **where)

    async def versions(self, *sorts, **names):
        """{kind: (resourceVersion, generation)}; equal ones mean that nobody wrote."""
        found = {}
        for api_version, kind in sorts:
            one = await self.api.get(kind, names.get(kind, "mood"), self.space, api_version=api_version)
            found[kind] = one["metadata"]["resourceVersion"], one["metadata"].get("generation")
        return found


def accepted(route):
    """As the controller of its Gateway would write it."""
    condition = {"type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
                 "lastTransitionTime": "2024-01-01T00:00:00Z", "observedGeneration": 1}  # fmt: skip
    parent = {"parentRef": route["spec"]["parentRefs"][0], "controllerName": "example.com/gateway",
              "conditions": [condition]}  # fmt: skip
    return {"status": {"parents": [parent]}}


def allows(most):
    return lambda one: one is not None and one["spec"]["maxReplicaCount"] == most


def test_kinds_of_others_are_used_once_they_are_there(system, space, bare):
    async def body(api):
        objects = Objects(api, space)
        ingress = {"name": f"{space}.mood", "namespace": SYSTEM}

        # what Kubernetes itself has, and a certificate asked for by an annotation
        await api.apply(platform(BY_INGRESS), force=True)
        await api.apply(wanted(space, 4))
        found = await until_said(api, space, "mood", "Ready", "True", "Serving", within_s=120)
        revision = found["status"]["revision"]
        found = await objects.until(INGRESS, **ingress)
        assert found["metadata"]["annotations"]["cert-manager.io/cluster-issuer"] == "acme"
        assert found["spec"]["tls"] == [
            {"hosts": [f"mood.{space}.infer.example.com"], "secretName": f"{space}.mood-tls"}
        ]
        claim = await objects.until(CLAIM, name=revision)
        (device,) = claim["spec"]["spec"]["devices"]["requests"]
        assert device["exactly"]["deviceClassName"] == "gpu.example.com"

        # others come, one after another
        await define(api, foreign())
        scaled = await objects.until(SCALED)
        assert scaled["spec"]["scaleTargetRef"]["name"] == revision
        await objects.until(PODS)

        # the platform turns to them
        await api.apply(platform(BY_GATEWAY), force=True)
        route = await objects.until(ROUTE)
        assert route["spec"]["parentRefs"][0]["name"] == "public"
        assert (await objects.until(GRANT, name=f"plimsoll-{space}", namespace=SYSTEM))["spec"]["from"] == [
            {"group": GATEWAY_API, "kind": "HTTPRoute", "namespace": space}
        ]
        await objects.until(SERVICES)
        await objects.gone(PODS)
        await objects.gone(INGRESS, **ingress)
        await until_said(api, space, "mood", "RouteReady", "False", "GatewayMissing")
        await api.patch(ROUTE[1], "mood", space, accepted(route), api_version=ROUTE[0], subresource="status")
        await until_said(api, space, "mood", "RouteReady", "True")
        await until_said(api, space, "mood", "Ready", "True", "Serving", within_s=120)

        # looked at again, by the same operator and by its successor, nothing is written that is as it should be
        sorts, names = (ROUTE, SERVICES, CLAIM), {CLAIM[1]: revision}
        before, count = await objects.versions(*sorts, **names), scaled["metadata"]["generation"]
        await api.apply(wanted(space, 5), force=True)
        await objects.until(SCALED, allows(5))
        (pod,) = await system.pods(api, "operator")
        await api.delete("Pod", pod["metadata"]["name"], SYSTEM)
        await system.ready(api, "plimsoll-operator")
        await api.apply(wanted(space, 6), force=True)
        scaled = await objects.until(SCALED, allows(6))
        assert scaled["metadata"]["generation"] == count + 2
        assert await objects.versions(*sorts, **names) == before

        # what somebody else changes comes back
        await api.patch(ROUTE[1], "mood", space, {"spec": {"hostnames": ["evil.example.com"]}}, api_version=ROUTE[0])
        await objects.until(ROUTE, lambda one: one["spec"]["hostnames"] == [f"mood.{space}.infer.example.com"])
        await api.delete(SERVICES[1], "mood", space, api_version=SERVICES[0])
        await objects.until(SERVICES)

        # all goes with the service
        await api.delete("ModelService", "mood", space, api_version="plimsoll.dev/v1alpha1")
        for sort in (ROUTE, SERVICES, SCALED):
            await objects.gone(sort)
        await objects.gone(CLAIM, name=revision)

    system.run(body, within_s=380)


def test_a_kind_that_goes_is_no_trouble(system, space, bare):
    """Its definition is deleted under a service that uses it, and comes again."""

    async def body(api):
        objects = Objects(api, space)
        await define(api, foreign())
        await api.apply(service(space, scaling={"minReplicas": 1, "maxReplicas": 4, "writer": "KEDA"}))
        await objects.until(SCALED)
        await undefine(api, foreign())
        for crd in foreign():
            await api.until("CustomResourceDefinition", crd["metadata"]["name"], within_s=60,
                            test=lambda one: one is None)  # fmt: skip
        await api.apply(service(space, scaling={"minReplicas": 1, "maxReplicas": 5, "writer": "KEDA"}), force=True)
        found = await api.until("ModelService", "mood", space, within_s=60,
                                test=said("Ready", "True", "Serving", after=2))  # fmt: skip
        assert condition(found)["observedGeneration"] == found["metadata"]["generation"]
        await define(api, foreign())
        await objects.until(SCALED, allows(5))

    system.run(body, within_s=300)

"""What both API servers do alike: who may what, and whose token is whose."""

import asyncio

from tests.cluster.contract import config_map, deployment, refused, run
from tests.kube.client import APPLY, MERGE
from tests.kube.errors import ApiError


def test_nobody_may_more_than_roles_give(cluster, namespace):
    from tests.kube.client import Client

    async def body(api):
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
                "metadata": {"name": "scaler", "namespace": namespace},
                "rules": [{"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["patch"]},
                          {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"],
                           "resourceNames": ["a"]}]}  # fmt: skip
        binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                   "metadata": {"name": "scaler", "namespace": namespace},
                   "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "scaler"},
                   "subjects": [{"kind": "Group", "name": "ops", "apiGroup": "rbac.authorization.k8s.io"}]}  # fmt: skip
        await api.create(deployment(namespace, replicas=1))
        await api.create(config_map(namespace, a="1"))
        async with Client(cluster.kubeconfig_of("bob:ops")) as bob:
            # paths without discovery, which bob may not
            scale = f"/apis/apps/v1/namespaces/{namespace}/deployments/web/scale"
            what = {"spec": {"replicas": 2}}
            code, reason, message = await refused(bob.request("PATCH", scale, what, content_type=MERGE))
            assert (code, reason) == (403, "Forbidden")
            assert 'User "bob" cannot patch resource "deployments/scale" in API group "apps"' in message
            await api.create(role)
            await api.create(binding)
            async with asyncio.timeout(20):
                while True:  # a real server learns of bindings by a watch of its own
                    try:
                        await bob.request("PATCH", scale, what, content_type=MERGE)
                        break
                    except ApiError:
                        await asyncio.sleep(0.05)
            maps = f"/api/v1/namespaces/{namespace}/configmaps"
            assert (await bob.request("GET", f"{maps}/a"))["data"] == {"a": "1"}
            assert (await refused(bob.request("GET", f"{maps}/b")))[0] == 403
            assert (await refused(bob.request("GET", maps)))[0] == 403

    run(cluster, namespace, body)


def test_a_kind_that_is_not_served_is_not_found_by_who_may_and_forbidden_to_others(cluster, namespace):
    from tests.kube.client import Client

    async def body(api):
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
                "metadata": {"name": "away", "namespace": namespace},
                "rules": [{"apiGroups": ["away.plimsoll.dev"], "resources": ["boats"],
                           "verbs": ["get", "list", "patch", "create"]}]}  # fmt: skip
        binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                   "metadata": {"name": "away", "namespace": namespace},
                   "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "away"},
                   "subjects": [{"kind": "User", "name": "carol",
                                 "apiGroup": "rbac.authorization.k8s.io"}]}  # fmt: skip
        await api.create(role)
        await api.create(binding)
        path = f"/apis/away.plimsoll.dev/v1/namespaces/{namespace}/boats"
        async with Client(cluster.kubeconfig_of("carol:")) as carol:
            async with asyncio.timeout(20):
                # a real server learns of bindings by a watch of its own
                while (await refused(carol.request("GET", path)))[0] != 404:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            what = {"apiVersion": "away.plimsoll.dev/v1", "kind": "Boat", "metadata": {"name": "a"}}
            query = {"fieldManager": "test", "force": True}
            assert (await refused(carol.request("PATCH", f"{path}/a", what, content_type=APPLY, **query)))[0] == 404
            assert (await refused(carol.request("PATCH", f"{path}/a", {}, content_type=MERGE)))[0] == 404
            code, _, message = await refused(carol.request("DELETE", f"{path}/a"))
            assert code == 403
            assert 'User "carol" cannot delete resource "boats" in API group "away.plimsoll.dev"' in message

    run(cluster, namespace, body)


def test_service_accounts_tokens_are_for_an_audience(cluster, namespace):
    async def body(api):
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "x", "namespace": namespace}}
        await api.create(account)
        path = await api.path("v1", "ServiceAccount", namespace, "x", "token")
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                 "spec": {"audiences": ["plimsoll-controller"], "expirationSeconds": 600}}  # fmt: skip
        token = (await api.request("POST", path, asked))["status"]["token"]

        async def review(token, audience):
            body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
                    "spec": {"token": token, "audiences": [audience]}}  # fmt: skip
            return (await api.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body))["status"]

        found = await review(token, "plimsoll-controller")
        assert found["authenticated"]
        assert found["audiences"] == ["plimsoll-controller"]
        assert found["user"]["username"] == f"system:serviceaccount:{namespace}:x"
        assert f"system:serviceaccounts:{namespace}" in found["user"]["groups"]
        assert not (await review(token, "another")).get("authenticated")
        assert not (await review(token[:-4] + "AAAA", "plimsoll-controller")).get("authenticated")
        spec = {"user": f"system:serviceaccount:{namespace}:x",
                "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": namespace}}  # fmt: skip
        asked = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        found = await api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", asked)
        assert not found["status"]["allowed"]

    run(cluster, namespace, body)

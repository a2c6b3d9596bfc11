"""What goes wrong around the operator: the API server, other operators, rights, definitions, namespaces, itself."""

import json
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from tests.kube import FakeCluster
from tests.unit.backends.kubernetes.operator.running import (
    SHOP,
    OperatorProcess,
    Shop,
    calm,
    condition,
    prepared,
    service,
    until,
    with_model,
)

from plimsoll.backends.kubernetes.crd import crd
from plimsoll.backends.kubernetes.install.surroundings import webhook
from plimsoll.backends.kubernetes.install.values import Values


@pytest.fixture
def cluster():
    with FakeCluster(hollow=True) as cluster:
        yield prepared(cluster)


def leads(operator):
    until(lambda: operator.leading, lambda: operator.log)
    return operator


def test_killed_again_and_again_in_the_middle_of_its_work(cluster):
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance, shops = random.Random(seed), [Shop(cluster, f"m{index}") for index in range(12)]
    for shop in shops:
        cluster.apply(service(shop.name))
    for attempt in range(4):
        if attempt == 2:
            for shop in shops:
                cluster.apply(with_model(service(shop.name), "b"))
        with OperatorProcess(cluster, f"operator-{attempt}") as operator:
            leads(operator)
            time.sleep(chance.uniform(0.0, 0.4))  # the moment of death, which is the point
            operator.kill()
    with OperatorProcess(cluster, "operator-last") as operator:
        for shop in shops:
            shop.ready(count=2)
            until(lambda shop=shop: sum(shop.counts().values()) == 2, shop.counts)
            managers = [one["manager"] for one in shop.service["metadata"]["managedFields"]]
            assert managers.count("plimsoll-operator") <= 2
        numbers = {}
        for one in cluster.objects("Revision", SHOP):
            numbers.setdefault(one["spec"]["service"], []).append(one["spec"]["number"])
        assert all(sorted(of) == list(range(1, len(of) + 1)) for of in numbers.values()), numbers
        calm(operator)
        assert "Traceback" not in operator.log


def test_of_two_operators_one_acts_and_the_other_takes_over(cluster):
    with OperatorProcess(cluster, "operator-0") as first:
        leads(first)
        with OperatorProcess(cluster, "operator-1") as second:
            until(lambda: second.metric("plimsoll_operator_lists_total") > 0)
            shop = Shop(cluster)
            cluster.apply(service())
            shop.ready(count=2)
            assert second.metric("plimsoll_operator_looks_total") == 0
            assert not second.leading
            first.kill()
            cluster.apply(with_model(service(), "b"))
            until(lambda: second.leading, lambda: second.log)
            until(lambda: len(shop.counts()) == 2, shop.counts)
            shop.ready(count=2)
            with OperatorProcess(cluster, "operator-2") as third:
                until(lambda: third.metric("plimsoll_operator_lists_total") > 0)
                began = time.monotonic()
                second.child.terminate()
                until(lambda: third.leading, lambda: third.log)
                assert second.child.wait(10) == 0
                print(f"handed over within {time.monotonic() - began:.1f} s")
                lease = cluster.get("Lease", "plimsoll-operator", "plimsoll-system")
                assert lease["spec"]["holderIdentity"].startswith("operator-2_")


def test_an_operator_that_was_stopped_for_long_does_nothing_when_it_wakes(cluster):
    import signal

    with OperatorProcess(cluster, "operator-0") as first, OperatorProcess(cluster, "operator-1") as second:
        until(lambda: first.leading or second.leading)
        asleep, awake = (first, second) if first.leading else (second, first)
        asleep.child.send_signal(signal.SIGSTOP)
        until(lambda: awake.leading, lambda: awake.log)
        cluster.apply(service())
        Shop(cluster).ready(count=2)
        asleep.child.send_signal(signal.SIGCONT)
        until(lambda: not asleep.leading)
        looks = asleep.metric("plimsoll_operator_looks_total")
        cluster.apply(with_model(service(), "b"))
        until(lambda: len(Shop(cluster).counts()) == 2)
        calm(awake)
        assert asleep.metric("plimsoll_operator_looks_total") == looks
        assert awake.leading


def test_conflicts_throttling_and_faults_of_the_server_are_waited_out(cluster):
    with OperatorProcess(cluster) as operator:
        leads(operator)
        for code in (409, 429, 500, 503):
            cluster.answer(code, times=5, verb="patch")
        cluster.apply(service())
        Shop(cluster).ready(count=2)
        assert "Traceback" not in operator.log


def test_the_api_server_goes_and_comes_back_and_forgets_what_was(cluster):
    with OperatorProcess(cluster) as operator:
        leads(operator)
        shop = Shop(cluster)
        cluster.apply(service())
        shop.ready(count=2)
        lists = operator.metric("plimsoll_operator_lists_total")
        cluster.drop_connections()
        cluster.apply(with_model(service(), "b"))
        until(lambda: len(shop.counts()) == 2, shop.counts)
        shop.ready(count=2)
        assert operator.metric("plimsoll_operator_lists_total") == lists, "a watch goes on from where it was"
        cluster.stop()
        time.sleep(0.5)
        cluster.apply(with_model(service(), "c"))
        cluster.compact()
        cluster.start()
        until(lambda: len(shop.counts()) == 3, shop.counts)
        shop.ready(count=2)
        assert operator.child.poll() is None
        assert "Traceback" not in operator.log


def test_a_missing_verb_is_a_condition_that_names_it(cluster):
    role = cluster.get("ClusterRole", "plimsoll-operator")
    rules = [rule for rule in role["rules"] if "poddisruptionbudgets" not in rule["resources"]]
    bare = {"apiVersion": role["apiVersion"], "kind": "ClusterRole", "metadata": {"name": "plimsoll-operator"}}
    cluster.apply(bare | {"rules": rules})
    with OperatorProcess(cluster, PLIMSOLL_RETRY_SECONDS=2) as operator:
        leads(operator)
        cluster.apply(service())
        found = condition(Shop(cluster).ready("Forbidden"))
        assert "the operator may not patch poddisruptionbudgets.policy" in found["message"]
        assert "ClusterRole plimsoll-operator" in found["message"]
        shop = Shop(cluster)
        until(lambda: shop.status.get("readyReplicas") == 2, lambda: shop.status)
        (first,) = shop.deployments()
        cluster.apply(with_model(service(), "b"))
        until(lambda: shop.counts().get(first) == 0, shop.counts)
        assert sum(shop.counts().values()) == 2, "the others are applied all the same, and revisions roll"
        assert condition(shop.service)["reason"] == "Forbidden"
        cluster.apply(bare | {"rules": role["rules"]})
        Shop(cluster).ready(count=2)


def test_what_is_anothers_is_not_taken_over_and_it_is_said(cluster):
    """A Service that leads to somebody's own Deployment."""
    with OperatorProcess(cluster, PLIMSOLL_RETRY_SECONDS=1) as operator:
        leads(operator)
        shop = Shop(cluster)
        theirs = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": shop.name, "namespace": SHOP},
                  "spec": {"selector": {"app": "theirs"}, "ports": [{"port": 80, "targetPort": 5000}]}}  # fmt: skip
        cluster.apply(theirs, manager="kubectl")
        cluster.apply(service())
        found = condition(shop.ready("ApplyFailed"))
        assert "can't apply Service mood: there is one of that name that is not this service's" in found["message"]
        stands = cluster.get("Service", shop.name, SHOP)
        assert stands["spec"]["selector"] == {"app": "theirs"}
        assert "ownerReferences" not in stands["metadata"], "nor would it go with our service"
        until(lambda: sum(shop.counts().values()) == 2, "the others are applied all the same")
        until(lambda: any(e["reason"] == "ApplyFailed" for e in cluster.objects("Event", SHOP)))
        labels = {"plimsoll.dev/service": shop.name, "app.kubernetes.io/managed-by": "plimsoll"}
        cluster.apply({**theirs, "metadata": {**theirs["metadata"], "labels": labels}}, manager="kubectl")
        shop.ready(count=2)
        assert cluster.get("Service", shop.name, SHOP)["spec"]["selector"] != {"app": "theirs"}, "it was handed over"


@pytest.mark.parametrize("kind", ["Deployment", "ConfigMap"])
def test_a_revisions_own_name_may_be_anothers(cluster, kind):
    shop = Shop(cluster)
    with OperatorProcess(cluster) as operator:
        leads(operator)
        cluster.apply(service())
        shop.ready(count=2)
        (name,) = shop.deployments()
        theirs = cluster.get(kind, name, SHOP)
        shop.delete()
        until(lambda: cluster.get(kind, name, SHOP) is None)
        bare = {"apiVersion": theirs["apiVersion"], "kind": kind, "metadata": {"name": name, "namespace": SHOP}}
        if kind == "Deployment":
            labels, containers = {"app": "theirs"}, theirs["spec"]["template"]["spec"]["containers"]
            pods = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
            bare["spec"] = {"replicas": 3, "selector": {"matchLabels": labels}, "template": pods}
        else:
            bare["data"] = {"mine": "x"}
        cluster.apply(bare, manager="kubectl")
        cluster.apply(service())
        found = condition(shop.ready("ApplyFailed"))
        assert f"can't apply {kind} {name}: there is one of that name" in found["message"]
        stands = cluster.get(kind, name, SHOP)
        assert (stands.get("data"), stands.get("spec", {}).get("replicas")) in (({"mine": "x"}, None), (None, 3))
        assert "ownerReferences" not in stands["metadata"]
        assert cluster.get("Service", shop.name, SHOP) is not None, "the others are applied all the same"


def test_what_can_not_be_watched_is_a_condition_and_nothing_is_done_blindly(cluster):
    with OperatorProcess(cluster) as operator:
        leads(operator)
        cluster.apply(service())
        Shop(cluster).ready(count=2)
    role = cluster.get("ClusterRole", "plimsoll-operator")
    rules = [
        rule | {"verbs": [verb for verb in rule["verbs"] if verb not in ("list", "watch")]}
        if "deployments" in rule["resources"]
        else rule
        for rule in role["rules"]
    ]
    bare = {"apiVersion": role["apiVersion"], "kind": "ClusterRole", "metadata": {"name": "plimsoll-operator"}}
    cluster.apply(bare | {"rules": rules})
    shop = Shop(cluster)
    before = shop.counts()
    with OperatorProcess(cluster, "operator-1") as operator:
        leads(operator)
        until(lambda: condition(shop.service).get("reason") == "Forbidden", lambda: shop.status)
        assert "deployments" in condition(shop.service)["message"]
        assert condition(shop.service)["status"] == "Unknown"
        cluster.apply(with_model(service(), "b"))
        calm(operator)
        assert shop.counts() == before
        cluster.apply(bare | {"rules": role["rules"]})
        until(lambda: len(shop.counts()) == 2, shop.counts, seconds=60)
        shop.ready(count=2)


def test_a_namespace_that_goes_takes_its_services_along(cluster):
    with OperatorProcess(cluster) as operator:
        leads(operator)
        shop = Shop(cluster)
        cluster.apply(service())
        shop.ready(count=2)
        shop.request("DELETE", f"/api/v1/namespaces/{SHOP}").raise_for_status()
        until(lambda: shop.service is None)
        until(lambda: cluster.get("Namespace", SHOP) is None)
        calm(operator)
        assert "Traceback" not in operator.log
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SHOP}}, service())
        shop.ready(count=2)


def test_definitions_change_under_it(cluster):
    with OperatorProcess(cluster) as operator:
        leads(operator)
        shop = Shop(cluster)
        cluster.apply(service())
        shop.ready(count=2)
        calm(operator)
        newer = crd("ModelService")
        spec = newer["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        spec["properties"]["later"] = {"type": "string", "description": "A key of the next version."}
        cluster.apply(newer)
        cluster.apply(service(later="x"))
        found = condition(shop.ready("InvalidSpec"))
        assert "later" in found["message"]
        assert found["status"] == "True", "what stands serves on"
        assert sum(shop.counts().values()) == 2
        cluster.apply(with_model(service(), "b"))
        shop.ready(count=2)


def test_a_platform_comes_changes_and_goes_wrong(cluster):
    platform = {"apiVersion": "plimsoll.dev/v1alpha1", "kind": "Platform", "metadata": {"name": "default"}}
    gateway = {"parentRefs": [{"name": "public", "namespace": "gateways"}], "hostnameTemplate": "{name}.example.com"}
    with OperatorProcess(cluster) as operator:
        leads(operator)
        shop = Shop(cluster)
        cluster.apply(platform | {"spec": {"currency": "EUR", "gateway": gateway}}, service())
        shop.ready(count=2)
        until(lambda: shop.status["url"] == "http://mood.example.com", lambda: shop.status)
        until(lambda: condition(cluster.get("Platform", "default")).get("status") == "True")
        cluster.apply(platform | {"spec": {"currency": "EUR"}})
        until(lambda: "example.com" not in shop.status["url"], lambda: shop.status)
        # What the definition lets through and the file's own checks don't.
        twice = [{"name": "a", "pricePerHour": "1"}, {"name": "a", "pricePerHour": "2"}]
        cluster.apply(platform | {"spec": {"currency": "EUR", "nodeClasses": twice}})
        until(lambda: condition(cluster.get("Platform", "default")).get("reason") == "InvalidSpec")
        assert "nodeClasses" in condition(cluster.get("Platform", "default"))["message"]
        shop.ready(count=2)


def test_figures_of_the_controller_stand_in_the_status(cluster):
    said = [{"namespace": SHOP, "name": "mood", "desired": 2, "p99_s": 0.018, "requests_per_s": 412.0,
             "error_rate": 0.0002, "within_budget": True, "reason": ""}]  # fmt: skip

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps(said).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    page = HTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=page.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{page.server_port}/plimsoll/status"
        with OperatorProcess(cluster, PLIMSOLL_CONTROLLER_STATUS=url) as operator:
            leads(operator)
            shop = Shop(cluster)
            cluster.apply(service())
            shop.ready(count=2)
            until(lambda: shop.status.get("p99") == "18ms", lambda: shop.status)
            assert (shop.status["requestsPerSecond"], shop.status["errorRate"]) == ("412", "0.02%")
            assert condition(shop.service, "WithinBudget")["status"] == "True"
            said[0] |= {"p99_s": 0.180, "within_budget": False}
            until(lambda: condition(shop.service, "WithinBudget")["status"] == "False", lambda: shop.status)
            found = condition(shop.service, "WithinBudget")
            assert found["reason"] == "LatencyOverBudget"
            assert "180ms, 100ms is allowed" in found["message"]
            assert shop.status["budget"] == "100ms exceeded"
            assert condition(shop.service)["status"] == "True", "never part of Ready"
    finally:
        page.shutdown()
        page.server_close()


def test_the_webhook_refuses_with_a_certificate_that_the_operator_made(cluster):
    cluster.apply(*webhook(Values()))
    with OperatorProcess(cluster) as operator:
        leads(operator)
        cluster.server.services.ports["plimsoll-system", "plimsoll-operator"] = ("127.0.0.1", operator.webhook_port)
        until(lambda: cluster.get("ConfigMap", "plimsoll-ca", "plimsoll-system"))

        def trusted():
            hooks = cluster.get("ValidatingWebhookConfiguration", "plimsoll-operator")["webhooks"]
            return hooks[0]["clientConfig"].get("caBundle")

        until(trusted)
        path = f"/apis/plimsoll.dev/v1alpha1/namespaces/{SHOP}/modelservices"
        answer = Shop(cluster).request("POST", path, service(timeout="1ms"))
        assert answer.status_code == 422
        assert "spec.timeout: 1ms is below the p99 budget" in answer.json()["message"]
        assert Shop(cluster).request("POST", path, service()).status_code == 201
        Shop(cluster).ready(count=2)
        secret = cluster.get("Secret", "plimsoll-certificates", "plimsoll-system")
        assert set(secret["data"]) == {"ca.crt", "tls.crt", "tls.key"}

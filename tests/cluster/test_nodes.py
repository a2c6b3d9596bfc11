"""The node lifecycle in memory: who is lost, and who only couldn't say that it isn't."""

from tests.kube.api import Api
from tests.kube.controllers.nodes import NodeLifecycle
from tests.kube.node.nodes import lease_of


def test_no_node_is_lost_because_the_api_server_was_away():
    api = Api()
    api.create_now("v1", "Node", {"metadata": {"name": "a"}, "spec": {},
                                  "status": {"conditions": [{"type": "Ready", "status": "True"}]}})  # fmt: skip
    lease = lease_of("a")
    lease["spec"]["renewTime"] = "2020-01-01T00:00:00.000000Z"
    api.create_now("coordination.k8s.io/v1", "Lease", lease)

    def ready():
        (record,) = api.store.list(("", "nodes"))
        return record.obj["status"]["conditions"][0]["status"]

    nodes = NodeLifecycle(api)
    nodes.blind(True)
    nodes.reconcile("a")
    assert ready() == "True"
    nodes.blind(False)
    wait_s = nodes.reconcile("a")
    assert ready() == "True"
    assert 0 < wait_s <= nodes.grace_s + 1
    nodes.grace_s = 0.0  # and when it could, and didn't
    nodes.reconcile("a")
    assert ready() == "Unknown"

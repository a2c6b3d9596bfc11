"""On a cluster a service is NAMESPACE/NAME: the host decides, then the path where only one namespace has it."""

import json

import pytest
from tests.support.gateway_host import GatewayHost, view

from plimsoll.core.errors import NotFound
from plimsoll.core.snapshot import Route, ServiceView, Snapshot
from plimsoll.gateway.table import RoutingTable

TEMPLATE = "{name}.{namespace}.infer.example.com"


def service(name, *routes):
    return ServiceView(name, "r", routes, namespace=name.partition("/")[0])


def table(*services, template=TEMPLATE):
    return RoutingTable(Snapshot(1, services, host_template=template))


def find(routes, path, host=None):
    found = routes.find(path, [] if host is None else [(b"accept", b"*/*"), (b"host", host.encode())])
    return found and found.name


SHOP = (service("shop/mood", Route("/analyze")), service("shop/digits"))
TEAM = (service("team-a/mood", Route("/analyze")), service("team-a/fraud", Route("/fraud")))


@pytest.mark.parametrize("path", ["/v2/models/mood/infer", "/v1/models/mood:predict", "/v2/models/mood", "/analyze"])
@pytest.mark.parametrize(
    "host",
    [
        "mood.{}.infer.example.com",
        "MOOD.{}.infer.example.com:443",
        "mood.{}",
        "mood.{}:8080",
        "mood.{}.svc",
        "mood.{}.svc.cluster.local",
    ],
)
@pytest.mark.parametrize("namespace", ["shop", "team-a"])
def test_the_host_says_which_of_two_is_meant(path, host, namespace):
    assert find(table(*SHOP, *TEAM), path, host.format(namespace)) == f"{namespace}/mood"


def test_the_host_of_one_service_leads_to_its_neighbours_too():
    routes = table(*SHOP, *TEAM)
    assert find(routes, "/v2/models/digits/infer", "mood.shop") == "shop/digits"
    assert find(routes, "/v2/models/fraud/infer", "mood.shop") == "team-a/fraud"  # only one namespace has it
    assert find(routes, "/v2/models/mood/infer", "fraud.team-a") == "team-a/mood"


def test_without_a_host_the_path_decides_where_it_can():
    routes = table(*SHOP, *TEAM)
    for host in (None, "plimsoll-gateway.plimsoll-system.svc", "10.2.0.9:8080", "mood.nowhere", "infer.example.com"):
        assert find(routes, "/v2/models/digits/infer", host) == "shop/digits"
        assert find(routes, "/fraud", host) == "team-a/fraud"
        assert find(routes, "/v2/models/none/infer", host) is None
        assert find(routes, "/none", host) is None
        for path, key in (("/v2/models/mood/infer", "mood"), ("/analyze", "/analyze")):
            with pytest.raises(NotFound, match=rf"{key} is in several namespaces \(shop, team-a\).*mood\.shop"):
                find(routes, path, host)


def test_nobody_takes_anothers_requests_by_naming_its_host():
    thief = service(
        "aaa/thief",
        Route("/analyze", "mood.shop.infer.example.com"),
        Route("/analyze", "mood.shop"),
        Route("/mine", "models.example"),
    )
    routes = table(thief, *SHOP)
    assert find(routes, "/analyze", "mood.shop.infer.example.com") == "shop/mood"
    assert find(routes, "/analyze", "mood.shop") == "shop/mood"
    assert find(routes, "/mine", "models.example") == "aaa/thief"
    assert len(routes.clashes) == 2


def test_without_a_template_the_short_hosts_stay():
    routes = table(*SHOP, *TEAM, template="")
    assert find(routes, "/analyze", "mood.team-a.svc") == "team-a/mood"
    with pytest.raises(NotFound):
        find(routes, "/analyze", "other.example")


def test_a_template_with_another_order():
    routes = table(*SHOP, *TEAM, template="{namespace}-{name}.example.com")
    assert find(routes, "/analyze", "team-a-mood.example.com") == "team-a/mood"


def test_whole_requests(play):
    async def main():
        async with GatewayHost(tcp=True) as host:
            one, two = await host.replica("one"), await host.replica("two")
            host.serve(view("shop/mood", one), view("team-a/mood", two))
            for replica, name in ((one, "shop"), (two, "team-a"), (one, "shop")):
                before = len(replica.requests)
                assert (await host.post(headers=[("Host", f"mood.{name}.svc")])).status == 200
                assert len(replica.requests) == before + 1
                assert replica.requests[-1].path == "/v2/models/mood/infer"
            refused = await host.post()
            assert (refused.status, refused.outcome) == (404, "not_found")
            assert "shop, team-a" in json.loads(refused.body)["error"]
            assert host.counted(service="shop/mood") == {"ok": 2}

    play(main())

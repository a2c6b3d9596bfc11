"""The admission page behind an API server: what it refuses comes back in its words, what it warns of as a warning."""

import asyncio
import base64
import copy
import ssl

import pytest
from tests.cluster.contract import run
from tests.cluster.test_crds import defined, obj
from tests.kube.authority import Authority
from tests.kube.errors import ApiError
from tests.support.cache_servers import free_port

from plimsoll.app.operator_pages import Page
from plimsoll.backends.kubernetes.install import values_of
from plimsoll.backends.kubernetes.install.surroundings import webhook
from plimsoll.backends.kubernetes.webhook import WEBHOOK_PATH, webhook_app


def configuration(namespace, port, authority):
    """As `plimsoll install` prints it, but for this namespace alone and by URL: there is no Service here."""
    (found,) = copy.deepcopy(webhook(values_of()))
    found["metadata"]["name"] = f"{namespace}.plimsoll.dev"
    bundle = base64.b64encode(authority.cert.read_bytes()).decode()
    (hook,) = found["webhooks"]
    hook["clientConfig"] = {"url": f"https://127.0.0.1:{port}{WEBHOOK_PATH}", "caBundle": bundle}
    hook["namespaceSelector"] = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    return found


def served(folder, port):
    authority = Authority(folder, "admission-ca")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.sign("admission", dns=("localhost",), ips=("127.0.0.1",)))
    return Page(webhook_app(), "127.0.0.1", port, context), authority


async def refusal(api, wrong):
    """A real server hears of a webhook by a watch of its own."""
    async with asyncio.timeout(20):
        while True:
            try:
                await api.create(wrong, dryRun="All")
            except ApiError as error:
                return error.code, error.message
            await asyncio.sleep(0.05)


def test_a_service_is_judged_when_it_is_applied(cluster, namespace, tmp_path):
    if getattr(cluster, "given", False):
        pytest.skip("a given cluster's API server can't reach this machine's loopback")
    # a cron line is beyond a schema and beyond CEL
    entries = [{"cron": "0 8 * * 9", "replicas": 1}]
    wrong = obj("ModelService", namespace, scaling={"policy": "Schedule", "schedule": {"entries": entries}})

    async def body(api):
        await defined(api)
        port = free_port()
        page, authority = served(tmp_path, port)
        await page.start()
        made = await api.create(configuration(namespace, port, authority))
        try:
            code, message = await refusal(api, wrong)
            assert code == 422
            assert (
                'webhook "validate.plimsoll.dev" denied the request: spec.scaling.schedule.entries[0].cron' in message
            )
            assert "is no cron line" in message
            if getattr(cluster, "real", False):  # the server in memory passes no warnings on
                assert await warned(api, obj("ModelService", namespace)) == [
                    "spec.model.path: m.py is not packed, and a cluster can't reach it: apply what "
                    "`plimsoll pack FILE` prints"
                ]
            await page.close()
            await api.create(wrong)  # nobody answers and nothing is held up; the operator says it in the status
        finally:
            await api.delete(made["kind"], made["metadata"]["name"], api_version=made["apiVersion"])
            await page.close()

    run(cluster, namespace, body)


async def warned(api, one):
    """The warnings of a create, which the API server sends as headers (RFC 7234)."""
    path = await api.path(one["apiVersion"], one["kind"], one["metadata"]["namespace"])
    async with api._session.post(api.url + path, json=one, params={"dryRun": "All"}) as answer:
        assert answer.status == 201, await answer.text()
        found = answer.headers.getall("Warning", [])
    return [line.split(" ", 2)[2].strip('"').replace('\\"', '"') for line in found]

"""Tenants and caches as a user meets them: files, commands, what is told. (What gateways make of them: tests of the
gateway.)"""

import json
import re

import httpx
import pytest

TENANT = """\
apiVersion: plimsoll.dev/v1alpha1
kind: Tenant
metadata: {name: shop}
spec:
  auth: {apiKeys: [{name: ci, hashSecretRef: {name: shop-keys, key: ci}}]}
  quota: {requestsPerSecond: 50}
"""


@pytest.fixture
def shop(service, plimsoll):
    """A folder with a service that has a cache, a tenant, and the tenant's key."""
    folder = service(spec="  cache: {ttl: 10m}\n")
    (folder / "tenants.yaml").write_text(TENANT)
    made = plimsoll("tenant", "key", "shop", "--key-name", "ci", cwd=folder)
    assert made.returncode == 0, made.stderr
    assert re.fullmatch(r"plm_[\w-]{43}\n", made.stdout)
    return folder, made.stdout.strip()


def told(running):
    return json.loads(running.cli("tenants", "--json").stdout)


def test_from_a_key_to_a_tenant_that_is_listed(up, shop):
    folder, key = shop
    running = up("--gateways", 2, cwd=folder).ready()
    digest = (folder / "secrets/shop-keys/ci").read_text().strip().removeprefix("sha256:")
    assert '-H "authorization: Bearer $KEY"' in running.line(r"^  try: ")
    (tenant,) = told(running)["tenants"]
    assert (tenant["name"], tenant["auth"], tenant["requests_per_s"]) == ("shop", ["ApiKey ci"], 50.0)
    assert tenant["services"] == ["mood"]
    assert told(running)["limits"] == {
        "gateways": 2,
        "shared": False,
        "told": "each of 2 gateways takes 1/2 of a quota; they don't count together",
    }
    assert running.status("mood")["anonymous"] is False
    assert "each of 2 gateways takes 1/2" in running.cli("status").stdout
    assert re.search(r"^shop +ApiKey ci +50 ", running.cli("tenants").stdout, re.MULTILINE)

    everything = [running.output, running.cli("events", "--json").stdout, running.cli("status", "--json").stdout]
    everything += [path.read_text() for path in (running.run_dir / "logs").iterdir()]
    with httpx.Client(base_url=f"http://localhost:{running.admin_port}") as client:
        everything += [client.get(path).text for path in ("/", "/v1/services", "/v1/tenants", "/v1/info", "/metrics")]
        assert client.delete("/v1/tenants/shop").status_code == 403
        assert client.post("/v1/services/mood/cache/purge", json={}).status_code == 403
    assert key not in "".join(everything)
    assert digest not in "".join(everything)


def test_tenants_are_changed_by_saving_and_deleted_by_name(up, shop, until):
    folder, _ = shop
    running = up(cwd=folder).ready()
    pids = {child.pid for child in running.children()}
    (folder / "tenants.yaml").write_text(TENANT.replace("50", "70"))
    running.line(r"tenants.yaml changed: tenant shop updated")
    assert told(running)["tenants"][0]["requests_per_s"] == 70.0
    (folder / "tenants.yaml").write_text(TENANT.replace("shop-keys", "no-keys"))
    assert "tenants.yaml:5" in running.line(r"there is no file secrets/no-keys/ci")
    assert told(running)["tenants"][0]["requests_per_s"] == 70.0
    assert "deleted" in running.cli("delete", "tenant/shop").stdout
    until(lambda: told(running)["tenants"] == [])
    assert "no tenant is named 'shop'" in running.cli("delete", "tenant/shop", check=2).stderr
    assert {child.pid for child in running.children()} == pids


def test_a_missing_key_is_told_with_the_command_that_makes_it(up, service):
    folder = service()
    (folder / "tenants.yaml").write_text(TENANT)
    running = up(cwd=folder)
    assert running.wait() == 2
    assert "error: tenants.yaml:5  spec.auth.apiKeys[0].hashSecretRef: there is no file" in running.output
    assert "plimsoll tenant key shop --key-name ci" in running.output


def test_a_cache_is_purged_in_every_gateway(up, shop):
    folder, _ = shop
    running = up("--gateways", 2, cwd=folder).ready()
    assert running.cli("cache", "purge", "mood").stdout == "  mood   cache purged in 2 gateways\n"
    purged = json.loads(running.cli("cache", "purge", "mood", "--json").stdout)
    assert (purged["name"], purged["gateways"], purged["acknowledged"]) == ("mood", 2, True)
    assert "did you mean mood?" in running.cli("cache", "purge", "moood", check=2).stderr


def test_what_others_fall_back_to_goes_last(up, service, until):
    small = service("small")
    mood = service("mood", spec="  fallback: [{type: Service, service: {name: small}}]\n")
    running = up(small, mood).ready()
    refused = running.cli("delete", "small", check=2)
    assert re.search(r"error: small is what mood \(.*service.yaml:\d+\) falls back to", refused.stderr)
    assert running.cli("delete", "small", "mood").stdout.split() == ["mood", "deleted", "small", "deleted"]


def test_an_open_door_is_warned_of(up, service):
    running = up(service(), "--host", "0.0.0.0").ready()
    assert running.line(r"^  --host 0\.0\.0\.0: other machines reach the gateway in clear text")
    assert running.line(r"^  --host 0\.0\.0\.0: anybody there may call mood")
    assert running.post("/mood", 1)[0] == 200


def test_a_key_is_replaced_without_a_restart(up, shop, plimsoll, until):
    folder, key = shop
    (folder / "tenants.yaml").write_text(TENANT.replace("50", "5000"))
    running = up("--gateways", 2, cwd=folder).ready()

    def opens(key):
        """Through both gateways, as likely as not: a new connection each time."""
        return {running.post("/mood", 1, {"x-api-key": key} if key else {})[0] for _ in range(16)}

    assert opens(None) == {401}
    assert opens(key) == {200}
    second = plimsoll("tenant", "key", "shop", "--key-name", "ci", cwd=folder).stdout.strip()
    until(lambda: opens(second) == {200})
    assert opens(key) == {200}, "both open, until the first line is gone"
    hashes = folder / "secrets/shop-keys/ci"
    hashes.write_text(hashes.read_text().splitlines()[1] + "\n")
    until(lambda: opens(key) == {401})
    assert opens(second) == {200}

"""A packed model's life on a cluster, by commands alone: it doesn't load and why is told, it is mended, it goes."""

import pytest
import yaml
from tests.cluster.system import condition

VALUES = {
    "operator": {"replicas": 1},
    "controller": {"replicas": 1},
    "gateway": {"replicas": 0, "autoscaling": {"enabled": False}},
}
pytestmark = pytest.mark.timeout(300)
MODEL = "class Mood:\n    def predict(self, batch):\n        return batch\n"


def test_why_it_does_not_load_is_told_and_the_mended_one_serves_and_leaves_nothing(system, space, tmp_path):
    spec = {"model": {"path": "./model.py"}, "scaling": {"minReplicas": 2, "maxReplicas": 2}}
    service = {
        "apiVersion": "plimsoll.dev/v1alpha1", "kind": "ModelService", "metadata": {"name": "mood"},
        "spec": spec | {"resources": {"requests": {"cpu": "100m"}}},
    }  # fmt: skip
    file, model = tmp_path / "service.yaml", tmp_path / "model.py"
    file.write_text(yaml.safe_dump(service))
    model.write_text(f"import a_package_that_is_not_here\n\n\n{MODEL}")
    done = system.plimsoll("apply", str(file), "--context", system.context, "-n", space, check=False)
    why = "model.py:1: ModuleNotFoundError: No module named 'a_package_that_is_not_here'"
    assert done.returncode == 1, done.stdout
    assert f"{space}/mood   Failed   ModelFailed: mood-" in done.stdout
    assert why in done.stdout

    async def told(api):
        found = await api.get("ModelService", "mood", space)
        for kind in ("Ready", "ModelLoaded"):
            one = condition(found, kind)
            assert (one["status"], one["reason"]) == ("False", "ModelFailed")
            assert why in one["message"]

    system.run(told)

    model.write_text(MODEL)
    done = system.plimsoll("apply", str(file), "--context", system.context, "-n", space)
    assert done.stdout.splitlines()[-1] == f"  {space}/mood   Ready   2 of 2 replicas are ready"

    def models():
        label = "plimsoll.dev/model-of=mood"
        return system.kubectl("get", "configmaps", "-n", space, "-l", label, "-o", "name").stdout.split()

    assert len(models()) == 2, "yesterday's stays, so that its file works"
    # By kubectl, which knows nothing of them.
    system.kubectl("delete", "msvc", "mood", "-n", space)

    async def gone(api):
        for name in models():
            kind, _, one = name.partition("/")
            assert kind == "configmap"
            await api.until("ConfigMap", one, space, test=lambda found: found is None, within_s=60)

    system.run(gone)
    assert models() == []

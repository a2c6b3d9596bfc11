"""The page over HTTP: one POST, bounded, and never a traceback."""

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from plimsoll.backends.kubernetes.install.surroundings import WEBHOOK_PATH as INSTALLED_PATH
from plimsoll.backends.kubernetes.webhook import WEBHOOK_PATH, Context, webhook_app
from plimsoll.backends.kubernetes.webhook.page import MAX_BYTES

REVIEW = {"request": {"uid": "u", "operation": "CREATE", "object": {"apiVersion": "plimsoll.dev/v1alpha1"}}}


def client(*contexts: Context) -> TestClient:
    given = list(contexts)
    return TestClient(webhook_app(given.pop) if given else webhook_app())


def test_it_answers_where_it_is_installed() -> None:
    assert WEBHOOK_PATH == INSTALLED_PATH
    found = client(Context()).post(WEBHOOK_PATH, json=REVIEW)
    assert (found.status_code, found.json()["response"]) == (200, {"uid": "u", "allowed": True})


def test_a_wrong_service_is_refused_in_words() -> None:
    obj: dict[str, Any] = {"apiVersion": "plimsoll.dev/v1alpha1", "kind": "ModelService", "metadata": {"name": "mood"}}
    request = {**REVIEW["request"], "object": {**obj, "spec": {"model": {"path": "m.py"}, "retry": "Twice"}}}
    found = client().post(WEBHOOK_PATH, json={"request": request}).json()["response"]
    assert not found["allowed"]
    assert found["status"]["message"].startswith("spec.retry: 'Twice' is not one of Once or Never")


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"", 400, "expected JSON"),
        (b"\xff", 400, "expected JSON"),
        (b"{", 400, "expected JSON"),
        (b"[" * 100_000, 400, "expected JSON"),
        (b"{}", 400, "expected an AdmissionReview with request.uid"),
        (b" " * (MAX_BYTES + 1), 413, "more than 8,388,608 bytes"),
    ],
)
def test_anything_else_is_told(body: bytes, status: int, text: str) -> None:
    found = client().post(WEBHOOK_PATH, content=body)
    assert (found.status_code, found.text) == (status, text)


def test_nothing_else_is_served() -> None:
    assert client().get(WEBHOOK_PATH).status_code == 405
    assert client().post("/", content=json.dumps(REVIEW)).status_code == 404

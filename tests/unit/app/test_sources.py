"""Which files a command line stands for, and the request to try."""

from pathlib import Path
from typing import cast

import pytest

from plimsoll.app.sources import choose_services, documents, service_files
from plimsoll.app.try_line import try_line
from plimsoll.app.up import Reporter, UpOptions, run_up
from plimsoll.core.errors import UserError
from plimsoll.spec import load_file

SERVICE = """apiVersion: plimsoll.dev/v1alpha1
kind: ModelService
metadata: {name: mood}
spec: {model: {path: ./model.py}%s}
"""


def test_a_folder_stands_for_its_service_files_alone(tmp_path):
    (tmp_path / "b.yaml").write_text(SERVICE % "")
    (tmp_path / "a.yml").write_text(SERVICE % "")
    (tmp_path / "docker-compose.yaml").write_text("services: {}\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/c.yaml").write_text(SERVICE % "")
    assert [file.name for file in service_files([tmp_path])] == ["a.yml", "b.yaml"]
    assert [file.name for file in service_files([tmp_path / "b.yaml", tmp_path])] == ["b.yaml", "a.yml"]


def test_a_file_that_is_named_is_taken_whatever_it_holds(tmp_path):
    (tmp_path / "docker-compose.yaml").write_text("services: {}\n")
    assert service_files([tmp_path / "docker-compose.yaml"]) == [tmp_path / "docker-compose.yaml"]


def test_nothing_named_stands_for_this_folder(tmp_path):
    with pytest.raises(UserError, match=r"no service file in this folder; .*plimsoll init"):
        service_files([], folder=tmp_path)
    (tmp_path / "service.yaml").write_text("")
    assert service_files([], folder=tmp_path) == [tmp_path / "service.yaml"]


def test_folders_below_that_have_some_are_named(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "service.yaml").write_text("")
    with pytest.raises(UserError, match=r"there is one in \S*/one, in \S*/two, or make one with: plimsoll init"):
        service_files([tmp_path])


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nope\.yaml: no such file or folder"):
        documents([tmp_path / "nope.yaml"])


@pytest.fixture
def line(tmp_path):
    def make(body=None, spec="", name="request.json"):
        (tmp_path / "service.yaml").write_text(SERVICE % spec)
        if body is not None:
            (tmp_path / name).write_text(body)
        (service,) = load_file(tmp_path / "service.yaml")
        return try_line(service, "localhost:8080", folder=Path(tmp_path))

    return make


def test_the_request_beside_the_service_is_quoted_for_the_shell(line):
    expected = """curl localhost:8080/mood -d '{"text":"it'"'"'s"}'"""
    assert line('{"text": "it\'s"}', ", routes: [{path: /mood}]") == expected


def test_a_long_body_is_read_from_its_file(line):
    body = '{"inputs": [{"name": "x", "shape": [1, 64], "datatype": "FP32", "data": [0' + ", 0" * 63 + "]}]}"
    assert line(body) == "curl localhost:8080/v2/models/mood/infer -d @request.json"


def test_a_route_of_one_host_needs_its_header(line):
    assert line("1", ", routes: [{path: /m, host: a.example}]") == "curl localhost:8080/m -H 'host: a.example' -d 1"


def test_examples_give_their_first_input(line):
    assert (
        line('[{"input": 3, "output": 4}]', ", routes: [{path: /m}]", "mood.request.json")
        == "curl localhost:8080/m -d 3"
    )


def test_without_a_body_the_metadata_answers(line):
    assert line() == "curl localhost:8080/v2/models/mood"
    assert line("not json") == "curl localhost:8080/v2/models/mood"


def test_a_file_of_tenants_alone_has_nothing_to_serve(tmp_path):
    (tmp_path / "tenants.yaml").write_text(
        "apiVersion: plimsoll.dev/v1alpha1\nkind: Tenant\nmetadata: {name: shop}\n"
        "spec: {auth: {certificates: [{subject: CN=shop}]}}\n"
    )
    for name in (None, "mood"):
        with pytest.raises(UserError, match="no service in the files; expected a document with kind: ModelService"):
            choose_services(load_file(tmp_path / "tenants.yaml"), name)


def test_two_of_one_name_are_no_choice_on_a_laptop(tmp_path):
    """Nor for `up`: only a cluster has namespaces."""
    file = tmp_path / "service.yaml"
    one = (SERVICE % "").replace("name: mood", "name: mood, namespace: shop")
    file.write_text(f"{one}---\n{one.replace('shop', 'bank')}")
    with pytest.raises(UserError, match=r"mood in namespace bank is also in .*:3, in namespace shop: a cluster can"):
        choose_services(load_file(file), "mood")
    with pytest.raises(UserError, match="here there are no namespaces; give one of them another name"):
        run_up(UpOptions(paths=(file,)), cast(Reporter, None))

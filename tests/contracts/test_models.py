"""What every model format promises (ports/model.py), run over all of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.contracts.model_cases import CASES, Case, rows

from plimsoll.core.errors import ModelFailed, ModelLoadError
from plimsoll.core.request import Items
from plimsoll.models import open_model


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request) -> Case:
    return request.param


@pytest.fixture
def source(case, tmp_path):
    return case.make(tmp_path)


@pytest.fixture
def model(source):
    model = open_model(source)
    model.load()
    yield model
    model.close()


def answers(model, requests):
    results = model.predict(requests)
    assert len(results) == len(requests)
    for result in results:
        if isinstance(result, Exception):
            raise result
    return [rows(result) for result in results]


def same(a, b) -> bool:
    """Equal up to the last bits, which differ with the size of a matrix product."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return np.allclose(a, b, rtol=1e-5, atol=1e-6)


def test_info_is_complete_after_load(case, model, source):
    info = model.info
    assert info.name == source.name
    assert info.platform == case.platform
    assert info.batched
    assert not info.fixed_batch
    assert info.takes_items == (case.name == "python")
    assert info.takes_items or (info.inputs and info.outputs)
    assert all(spec.shape[0] == -1 for spec in info.inputs + info.outputs)


def test_outputs_are_as_info_says(case, model):
    [result] = model.predict([case.request(3, 1)])
    if isinstance(result, Items):
        assert len(result.values) == 3
        return
    assert list(result.arrays) == [spec.name for spec in model.info.outputs]
    for spec in model.info.outputs:
        array = result.arrays[spec.name]
        assert array.shape == (3, *spec.shape[1:])
        assert {"FP32": "f4", "FP64": "f8", "INT64": "i8"}[spec.datatype] == array.dtype.str[1:]


def test_many_give_the_answers_of_each_alone_in_order(case, model):
    requests = [case.request(1, seed) for seed in range(12)]
    together = answers(model, requests)
    alone = [answers(model, [request])[0] for request in requests]
    assert len({repr(answer) for answer in alone}) > 1, "the answers must differ for their order to show"
    assert all(same(a[0], b[0]) for a, b in zip(together, alone, strict=True))


def test_mixed_sizes_come_apart_again(case, model):
    requests = [case.request(size, seed) for seed, size in enumerate([1, 3, 2, 5, 1])]
    together = answers(model, requests)
    assert [len(answer) for answer in together] == [1, 3, 2, 5, 1]
    for request, answer in zip(requests, together, strict=True):
        [alone] = answers(model, [request])
        assert all(same(a, b) for a, b in zip(answer, alone, strict=True))


def test_a_bad_request_fails_alone(case, model):
    good = [case.request(2, 1), case.request(1, 2)]
    first, bad, last = model.predict([good[0], case.bad, good[1]])
    assert isinstance(bad, ModelFailed)
    assert "\n" not in str(bad)
    wanted = answers(model, good)
    assert all(same(a, b) for a, b in zip(rows(first), wanted[0], strict=True))
    assert all(same(a, b) for a, b in zip(rows(last), wanted[1], strict=True))


def test_it_serves_on_after_a_failure(case, model):
    before = answers(model, [case.request(1, 3)])
    try:
        [result] = model.predict([case.bad])
    except ModelFailed as error:
        result = error
    assert isinstance(result, ModelFailed)
    assert answers(model, [case.request(1, 3)]) == before


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_warm_up_inputs_are_valid(model, size):
    [result] = model.predict([model.warm_up_inputs(size)])
    assert not isinstance(result, Exception)
    assert len(rows(result)) == size


def test_loading_twice_is_fine(case, model):
    before = answers(model, [case.request(2, 4)])
    model.load()
    assert answers(model, [case.request(2, 4)]) == before


def test_two_of_a_kind_live_in_one_process(case, model, tmp_path):
    (tmp_path / "second").mkdir()
    second = open_model(replace(case.make(tmp_path / "second"), name="second"))
    second.load()
    assert second.info.name == "second"
    second.close()
    assert answers(model, [case.request(1, 5)])


def test_before_load_and_after_close_it_fails_clearly(case, source):
    model = open_model(source)
    with pytest.raises(ModelFailed, match="not loaded"):
        model.predict([case.request(1, 1)])
    model.load()
    model.close()
    with pytest.raises(ModelFailed, match="not loaded"):
        model.predict([case.request(1, 1)])


def test_a_closed_model_can_be_loaded_again(case, source):
    model = open_model(source)
    model.load()
    before = answers(model, [case.request(1, 1)])
    model.close()
    model.load()
    assert answers(model, [case.request(1, 1)]) == before
    model.close()


@pytest.mark.parametrize("damage", ["missing", "folder", "empty", "garbage", "half"])
def test_a_bad_file_is_a_load_error_in_one_line(case, source, damage):
    path = Path(source.path)
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes({"empty": b"", "garbage": b"\x00\x01(garbage", "half": content[: len(content) // 2]}[damage])
    model = open_model(replace(source, format={"python": "Python", "onnx": "ONNX", "sklearn": "SKLearn"}[case.name]))
    with pytest.raises(ModelLoadError) as caught:
        model.load()
    assert caught.value.file == case.file
    assert str(caught.value).startswith(case.file)
    assert "\n" not in str(caught.value)


def test_a_missing_requirement_is_told_before_anything_runs(source):
    model = open_model(replace(source, requirements=("numpy", "no-such-package-of-ours>=2")))
    with pytest.raises(
        ModelLoadError, match=r"needs no-such-package-of-ours>=2, which is not installed; run: pip inst"
    ):
        model.load()


def test_close_without_load(source):
    open_model(source).close()

"""What an author's `predict` may return, raise or be."""

import threading

import numpy as np
import pytest

from plimsoll.core.errors import Invalid, ModelFailed
from plimsoll.core.request import Items, Tensors
from plimsoll.core.tensors import TensorSpec
from plimsoll.models import ModelSource, open_model


@pytest.fixture
def predicting(tmp_path):
    """`predicting(body)`: a loaded model whose predict has this body."""
    loaded = []

    def make(body, head="", kind="def"):
        lines = "".join(f"        {line}\n" for line in body.splitlines())
        (tmp_path / "model.py").write_text(f"{head}\nclass A:\n    {kind} predict(self, batch):\n{lines}")
        model = open_model(ModelSource("m", str(tmp_path / "model.py"), directory=str(tmp_path)))
        model.load()
        loaded.append(model)
        return model

    yield make
    for model in loaded:
        model.close()


def requests(*groups):
    return [Items(list(group)) for group in groups]


def test_one_call_for_all_items_of_all_requests(predicting):
    model = predicting("return [(len(batch), value) for value in batch]")
    results = model.predict(requests([1], [2, 3], [4]))
    assert [result.values for result in results] == [[(4, 1)], [(4, 2), (4, 3)], [(4, 4)]]


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("tuple(batch)", [1, 2]),
        ("np.array(batch)", [1, 2]),
        ("np.array(batch, 'f4') / 2", [0.5, 1.0]),
        ("np.array([[x, x] for x in batch])", [[1, 1], [2, 2]]),
    ],
)
def test_tuples_and_arrays_are_results_too(predicting, expression, wanted):
    model = predicting(f"return {expression}", head="import numpy as np")
    [result] = model.predict(requests([1, 2]))
    assert np.array(result.values).tolist() == wanted
    assert type(result.values) is list


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("batch[1:]", "predict returned 2 results for 3 inputs"),
        ("[*batch, 1]", "predict returned 4 results for 3 inputs"),
        ("None", "predict returned NoneType, not a list with one result for each input"),
        ("{}", "predict returned dict, not a list"),
        ("np.float64(1)", "predict returned float64, not a list"),
        ("np.array(1)", "predict returned ndarray, not a list"),
        ("np.zeros((2, 3))", "predict returned 2 results for 3 inputs"),
    ],
)
def test_the_wrong_number_or_kind_of_results(predicting, expression, reason):
    model = predicting(f"return {expression}", head="import numpy as np")
    with pytest.raises(ModelFailed) as caught:
        model.predict(requests([1], [2, 3]))
    assert str(caught.value).startswith(reason)


def test_raising_fails_the_batch_with_the_authors_line(predicting):
    model = predicting("x = 1\nraise ValueError('bad\\ntext')")
    with pytest.raises(ModelFailed) as caught:
        model.predict(requests([1], [2]))
    assert str(caught.value) == "ValueError: bad text at model.py:5"


def test_exit_does_not_end_the_process(predicting):
    with pytest.raises(ModelFailed, match=r"SystemExit: 3 at model\.py:4"):
        predicting("raise SystemExit(3)").predict(requests([1]))


def test_a_returned_exception_fails_its_request_alone(predicting):
    model = predicting(
        "out = []\nfor x in batch:\n    try:\n        out.append(1 / x)\n"
        "    except ZeroDivisionError as error:\n        out.append(error)\nreturn out"
    )
    first, second, third = model.predict(requests([1], [2, 0], [4]))
    assert first.values == [1.0]
    assert isinstance(second, ModelFailed)
    assert str(second) == "ZeroDivisionError: division by zero at model.py:7"
    assert third.values == [0.25]


def test_an_exception_that_was_never_raised_has_no_line(predicting):
    [result] = predicting("return [KeyError('text')]").predict(requests([1]))
    assert str(result) == "KeyError: 'text'"


def test_errors_of_ours_reach_the_client_as_they_are(predicting):
    model = predicting("return [Invalid('no text'), 2]", head="from plimsoll.core.errors import Invalid")
    first, second = model.predict(requests([1], [2]))
    assert isinstance(first, Invalid)
    assert second.values == [2]
    raising = predicting("raise Invalid('no text')", head="from plimsoll.core.errors import Invalid")
    with pytest.raises(Invalid):
        raising.predict(requests([1]))


def test_a_batch_that_predict_changes_is_still_counted(predicting):
    with pytest.raises(ModelFailed, match="0 results for 2 inputs"):
        predicting("batch.clear()\nreturn batch").predict(requests([1], [2]))


def test_tensors_are_refused(predicting):
    with pytest.raises(ModelFailed, match="takes items"):
        predicting("return batch").predict([Tensors({"x": np.zeros(1)}, 1)])


ASYNC = """
import asyncio

class A:
    async def load(self):
        self.loop = asyncio.get_running_loop()
        self.lock = asyncio.Lock()

    async def predict(self, batch):
        assert asyncio.get_running_loop() is self.loop
        async with self.lock:
            await asyncio.sleep(0)
        return await asyncio.gather(*(self.one(x) for x in batch), return_exceptions=True)

    async def one(self, x):
        return 1 / x

    async def close(self):
        print("closed")
"""


def test_async_methods_share_one_loop_from_load_to_close(tmp_path, capsys):
    (tmp_path / "model.py").write_text(ASYNC)
    model = open_model(ModelSource("m", str(tmp_path / "model.py")))
    found = []

    def work():
        model.load()
        found.append(model.predict(requests([1], [0], [4])))
        found.append(model.predict(requests([2])))
        model.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    [one, failed, four], [two] = found
    assert (one.values, four.values, two.values) == ([1.0], [0.25], [0.5])
    assert isinstance(failed, ModelFailed)
    assert capsys.readouterr().out == "closed\n"


def test_a_plain_predict_may_return_an_awaitable(predicting):
    model = predicting("return later(batch)", head="async def later(batch):\n    return batch\n")
    [result] = model.predict(requests([5]))
    assert result.values == [5]


def test_close_that_raises_says_where(predicting, tmp_path):
    model = predicting("return batch\ndef close(self): ...")
    model._instance.close = lambda: 1 / 0
    with pytest.raises(ModelFailed, match="ZeroDivisionError"):
        model.close()


def test_warm_up_repeats_the_examples_and_hands_out_copies(tmp_path):
    code = (
        "class A:\n    def examples(self):\n        return [{'input': [1]}, {'input': [2], 'output': 3}]\n"
        "    def predict(self, batch):\n        return [x.append(0) or len(x) for x in batch]\n"
    )
    (tmp_path / "model.py").write_text(code)
    model = open_model(ModelSource("m", str(tmp_path / "model.py")))
    model.load()
    for _ in range(2):
        inputs = model.warm_up_inputs(3)
        assert inputs.values == [[1], [2], [1]]
        model.predict([inputs])
    model.close()


def test_warm_up_takes_the_request_beside_the_service(predicting, tmp_path):
    (tmp_path / "request.json").write_text('{"text": "hello"}')
    assert predicting("return batch").warm_up_inputs(2).values == [{"text": "hello"}] * 2


def test_without_examples_nobody_can_invent_inputs(predicting):
    assert predicting("return batch").warm_up_inputs(1) is None


HINTS = """
from typing import Annotated, TypedDict
import numpy as np
from numpy.typing import NDArray

class In(TypedDict):
    image: Annotated[NDArray[np.float32], (8, 8)]
    tokens: Annotated[np.ndarray, "INT64", (-1,)]
    user: str
    age: int
    weight: float
    known: bool

class Out(TypedDict):
    label: str

class A:
    def predict(self, batch: list[In]) -> list[Out]:
        return [{"label": "a"} for _ in batch]
"""


def test_type_hints_give_the_metadata(tmp_path):
    (tmp_path / "model.py").write_text(HINTS)
    model = open_model(ModelSource("m", str(tmp_path / "model.py")))
    model.load()
    assert model.info.inputs == (
        TensorSpec("image", "FP32", (-1, 8, 8)),
        TensorSpec("tokens", "INT64", (-1, -1)),
        TensorSpec("user", "BYTES", (-1,)),
        TensorSpec("age", "INT64", (-1,)),
        TensorSpec("weight", "FP64", (-1,)),
        TensorSpec("known", "BOOL", (-1,)),
    )
    assert model.info.outputs == (TensorSpec("label", "BYTES", (-1,)),)
    model.close()


@pytest.mark.parametrize(
    "change",
    [
        ("    user: str", "    user: list[str]"),
        ("    user: str", "    user: np.ndarray"),
        ("(8, 8)]", "None]"),
        ("class In(TypedDict)", "class In(TypedDict, total=False)"),
        ("list[In]", "list"),
        ("list[In]", "list['Nowhere']"),
    ],
)
def test_hints_that_tell_only_part_tell_nothing(tmp_path, change):
    (tmp_path / "model.py").write_text(HINTS.replace(*change))
    model = open_model(ModelSource("m", str(tmp_path / "model.py")))
    model.load()
    assert model.info.inputs == ()
    model.close()

"""Estimators of every kind, and what may be unpickled."""

import pickle
import warnings

import joblib
import numpy as np
import pytest
import skops.io
from sklearn.cluster import KMeans
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from plimsoll.core.errors import ModelLoadError
from plimsoll.core.request import Tensors
from plimsoll.core.tensors import TensorSpec
from plimsoll.models import ModelSource, open_model

X = np.array([[0.0, 0.0], [0.1, 0.2], [1.0, 1.0], [0.9, 1.1]])

TRUSTED = {"unsafe_formats": ("Pickle",)}  # skops doubts a file's decision trees: a forged one can read past its end


@pytest.fixture
def load(tmp_path):
    loaded = []

    def run(estimator, **options):
        path = tmp_path / "m.skops"
        skops.io.dump(estimator, path)
        model = open_model(ModelSource("m", str(path), **options))
        loaded.append(model)
        model.load()
        return model

    yield run
    for model in loaded:
        model.close()


def ask(model, x):
    [result] = model.predict([Tensors({"x": x}, len(x))])
    return result.arrays


def test_a_classifier_with_text_labels(load):
    model = load(LogisticRegression().fit(X, ["low", "low", "high", "high"]))
    assert model.info.inputs == (TensorSpec("x", "FP64", (-1, 2)),)
    assert model.info.outputs == (
        TensorSpec("label", "BYTES", (-1,)),
        TensorSpec("probabilities", "FP64", (-1, 2)),
    )
    assert model.info.labels == {"0": "high", "1": "low"}
    out = ask(model, X)
    assert out["label"].tolist() == ["low", "low", "high", "high"]
    assert out["probabilities"].sum(axis=1) == pytest.approx(1)


def test_a_classifier_without_probabilities(load):
    model = load(LinearSVC().fit(X, [0, 0, 1, 1]))
    assert model.info.outputs == (TensorSpec("label", "INT64", (-1,)),)


def test_a_regressor_of_one_and_of_two_targets(load):
    assert load(LinearRegression().fit(X, X[:, 0])).info.outputs == (TensorSpec("y", "FP64", (-1,)),)
    model = load(LinearRegression().fit(X, X))
    assert model.info.outputs == (TensorSpec("y", "FP64", (-1, 2)),)
    assert ask(model, X)["y"] == pytest.approx(X)


def test_several_labels_an_item(load):
    model = load(RandomForestClassifier(5, random_state=0).fit(X, [[0, 1], [0, 1], [1, 0], [1, 0]]), **TRUSTED)
    assert model.info.outputs == (TensorSpec("label", "INT64", (-1, 2)),)


def test_transformers_and_clusters(load):
    assert ask(load(StandardScaler().fit(X)), X)["y"].mean() == pytest.approx(0)
    sparse = load(OneHotEncoder(handle_unknown="ignore").fit([[0], [1]]))
    assert ask(sparse, np.array([[1.0]]))["y"].tolist() == [[0, 1]]
    assert load(KMeans(2, n_init=1, random_state=0).fit(X)).info.outputs[0].datatype == "INT32"


def test_a_pipeline_that_begins_with_text(load):
    model = load(make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["good day", "bad day"], [1, 0]))
    assert model.info.inputs == (TensorSpec("x", "BYTES", (-1,)),)
    assert ask(model, np.array(["good", b"bad"], object))["label"].tolist() == [1, 0]


def test_jobs_are_as_many_as_the_cores_given(load):
    forest = RandomForestClassifier(5, n_jobs=-1, random_state=0).fit(X, [0, 0, 1, 1])
    model = load(make_pipeline(StandardScaler(), forest).fit(X, [0, 0, 1, 1]), threads=1, **TRUSTED)
    compute = model._outputs[0][1]
    assert compute.__self__.steps[-1][1].n_jobs == 1


def test_no_warning_at_each_call_for_models_fitted_on_a_table(load):
    estimator = LogisticRegression().fit(X, [0, 0, 1, 1])
    estimator.feature_names_in_ = np.array(["a", "b"], object)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        ask(load(estimator), X)
    assert not seen


def test_an_object_that_predicts_nothing(load):
    with pytest.raises(ModelLoadError, match="holds a dict, which has neither predict nor transform"):
        load({"a": 1})


def test_untrusted_types_are_listed_unless_allowed(load):
    estimator = make_pipeline(FunctionTransformer(_negative), LinearRegression()).fit(X, X[:, 0])
    with pytest.raises(
        ModelLoadError, match=r"types that skops does not know to be harmless: .*_negative.*unsafeFormats"
    ):
        load(estimator)
    assert ask(load(estimator, unsafe_formats=("Pickle",)), X)["y"] == pytest.approx(X[:, 0])


class Trap:
    """Unpickling this leaves a trace."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("suffix", ["pkl", "pickle", "joblib", "PKL"])
def test_a_pickle_is_not_opened_without_leave(tmp_path, suffix):
    path, trace = tmp_path / f"m.{suffix}", tmp_path / "trace"
    path.write_bytes(pickle.dumps(Trap(trace)))
    with pytest.raises(
        ModelLoadError, match=r"is a pickle, which runs whatever code.*runtime\.unsafeFormats: \[Pickle\]"
    ):
        open_model(ModelSource("m", str(path))).load()
    assert not trace.exists()


@pytest.mark.parametrize("suffix", ["pkl", "joblib"])
def test_a_pickle_with_leave(tmp_path, suffix):
    path = tmp_path / f"m.{suffix}"
    estimator = LinearRegression().fit(X, X[:, 1])
    if suffix == "joblib":
        joblib.dump(estimator, path)
    else:
        path.write_bytes(pickle.dumps(estimator))
    model = open_model(ModelSource("m", str(path), unsafe_formats=("Pickle",)))
    model.load()
    assert ask(model, X)["y"] == pytest.approx(X[:, 1])
    model.close()


def test_a_model_that_dislikes_made_up_inputs_still_loads(load, monkeypatch):
    class Picky(LogisticRegression):
        def predict(self, x):
            if (x == 1).all():
                raise ValueError("no ones, please")
            return super().predict(x)

    estimator = LogisticRegression().fit(X, [0, 0, 1, 1])
    monkeypatch.setattr("plimsoll.models.sklearn.SklearnModel._read", lambda self: _as(Picky, estimator))
    model = load(estimator)
    assert model.info.outputs == (TensorSpec("label", "INT64", (-1,)), TensorSpec("probabilities", "FP64", (-1, 2)))
    assert ask(model, X)["label"].tolist() == [0, 0, 1, 1]


def _as(cls, estimator):
    estimator.__class__ = cls
    return estimator


def _negative(x):
    return -x

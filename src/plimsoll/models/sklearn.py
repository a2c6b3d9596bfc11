"""The `SKLearn` format: a fitted estimator or pipeline, from a skops file.

Pickles (.pkl, .pickle, .joblib) run whatever code they hold when they are opened, so they are read only where
`runtime.unsafeFormats: [Pickle]` says that their maker is trusted; the same goes for skops files with types that skops
doesn't know. One input `x`: FP64 [-1, features], or BYTES [-1] for pipelines that begin with text. A classifier gives
`label`, and `probabilities` where it can; everything else gives `y`.
"""

import os
import pickle
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from plimsoll.core.errors import ModelFailed, ModelLoadError
from plimsoll.core.request import Inputs, Outputs, Tensors
from plimsoll.core.tensors import ModelInfo, TensorSpec
from plimsoll.models.arrays import Array, datatype_of, joined, made_up, run_isolated, split, tensors_of, with_text
from plimsoll.models.authors_code import describe
from plimsoll.models.requirements import check_requirements, missing_library
from plimsoll.models.source import ModelSource

_PICKLES = (".pkl", ".pickle", ".joblib")


class SklearnModel:
    """See ports.model.Model."""

    def __init__(self, source: ModelSource) -> None:
        self._source = source
        self._outputs: list[tuple[str, Callable[[Array], Any]]] = []
        self._text = False
        self._limits: Any = None
        self._info = ModelInfo(name=source.name, platform="sklearn")

    @property
    def info(self) -> ModelInfo:
        return self._info

    def load(self) -> None:
        if self._outputs:
            return
        source = self._source
        check_requirements(source.requirements, file=source.shown)
        if not os.path.isfile(source.path):
            raise ModelLoadError("can't be read: there is no such file", file=source.shown)
        try:
            import sklearn  # noqa: F401  # a clear error before the one from within the file
            import threadpoolctl
        except ImportError as error:
            raise missing_library("SKLearn", "sklearn", error, file=source.shown) from error
        estimator = self._read()
        self._limits = threadpoolctl.threadpool_limits(max(source.threads, 1))
        _set_jobs(estimator, max(source.threads, 1))
        outputs = _outputs_of(estimator)
        if not outputs:
            kind = type(estimator).__name__
            raise ModelLoadError(f"holds a {kind}, which has neither predict nor transform", file=source.shown)
        self._outputs = outputs
        inputs = self._inputs_of(estimator)
        self._info = ModelInfo(
            name=source.name,
            platform="sklearn",
            inputs=inputs,
            outputs=self._probed(inputs, estimator),
            labels={str(index): str(value) for index, value in enumerate(_classes(estimator))},
        )

    def predict(self, requests: Sequence[Inputs]) -> list[Outputs | Exception]:
        return run_isolated(self._joined, [tensors_of(request) for request in requests])

    def warm_up_inputs(self, size: int) -> Tensors | None:
        return made_up(self._info.inputs, size, batched=True) if self._info.inputs else None

    def close(self) -> None:
        self._outputs = []
        if self._limits is not None:
            self._limits.restore_original_limits()
            self._limits = None

    def _joined(self, requests: Sequence[Tensors]) -> list[Outputs | Exception]:
        return split(self._run(joined(requests, ("x",))["x"]), requests)

    def _run(self, x: Array) -> dict[str, Array]:
        if not self._outputs:
            raise ModelFailed("the model is not loaded")
        if self._text:
            x = with_text(x)
        try:
            return {name: _dense(compute(x)) for name, compute in self._outputs}
        except Exception as error:
            raise ModelFailed(f"scikit-learn: {describe(error)}") from error

    def _read(self) -> Any:
        source = self._source
        allowed = "Pickle" in source.unsafe_formats
        pickled = os.path.splitext(source.path)[1].lower() in _PICKLES
        if pickled and not allowed:
            raise ModelLoadError(
                "is a pickle, which runs whatever code it holds when it is opened; save the model with skops.io.dump, "
                "or, if you trust whoever made it, set runtime.unsafeFormats: [Pickle]",
                file=source.shown,
            )
        try:
            return self._read_pickle() if pickled else self._read_skops(allowed)
        except ModelLoadError:
            raise
        except (Exception, SystemExit) as error:  # a damaged file fails in any way
            raise ModelLoadError(f"can't be loaded: {describe(error)}", file=source.shown) from error

    def _read_pickle(self) -> Any:
        if self._source.path.lower().endswith(".joblib"):
            import joblib

            return joblib.load(self._source.path)
        with open(self._source.path, "rb") as opened:
            return pickle.load(opened)

    def _read_skops(self, allowed: bool) -> Any:
        source = self._source
        try:
            from skops import io
        except ImportError as error:
            raise missing_library("SKLearn", "sklearn", error, file=source.shown) from error
        untrusted = io.get_untrusted_types(file=source.path)
        if untrusted and not allowed:
            raise ModelLoadError(
                f"holds types that skops does not know to be harmless: {', '.join(untrusted)}; if you trust whoever "
                "made it, set runtime.unsafeFormats: [Pickle]",
                file=source.shown,
            )
        return io.load(source.path, trusted=untrusted)

    def _inputs_of(self, estimator: Any) -> tuple[TensorSpec, ...]:
        features = getattr(estimator, "n_features_in_", None)
        if isinstance(features, int):
            return (TensorSpec("x", "FP64", (-1, features)),)
        first = estimator.steps[0][1] if hasattr(estimator, "steps") else estimator
        self._text = hasattr(first, "build_analyzer")  # the text vectorizers' own method
        return (TensorSpec("x", "BYTES", (-1,)) if self._text else TensorSpec("x", "FP64", (-1, -1)),)

    def _probed(self, inputs: tuple[TensorSpec, ...], estimator: Any) -> tuple[TensorSpec, ...]:
        """Datatypes and shapes as a run of made-up inputs shows them; a guess where they don't suit the model."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                seen = self._run(made_up(inputs, 2, batched=True).arrays["x"])
            return tuple(TensorSpec(n, datatype_of(array.dtype), (-1, *array.shape[1:])) for n, array in seen.items())
        except (ModelFailed, KeyError):
            classes = np.asarray(_classes(estimator))
            label = datatype_of(classes.dtype) if classes.size else "INT64"
            shapes = {
                "label": TensorSpec("label", label, (-1,)),
                "probabilities": TensorSpec("probabilities", "FP64", (-1, max(classes.size, 1))),
                "y": TensorSpec("y", "FP64", (-1,)),
            }
            return tuple(shapes[name] for name, _ in self._outputs)


def _outputs_of(estimator: Any) -> list[tuple[str, Callable[[Array], Any]]]:
    from sklearn.base import is_classifier

    if hasattr(estimator, "predict"):
        predict = _quiet(estimator, estimator.predict)
        if not is_classifier(estimator):
            return [("y", predict)]
        outputs = [("label", predict)]
        # Several labels an item give a list of arrays, which is no tensor.
        if hasattr(estimator, "predict_proba") and not isinstance(getattr(estimator, "classes_", None), list):
            outputs.append(("probabilities", _quiet(estimator, estimator.predict_proba)))
        return outputs
    if hasattr(estimator, "transform"):
        return [("y", _quiet(estimator, estimator.transform))]
    return []


def _quiet(estimator: Any, compute: Callable[[Array], Any]) -> Callable[[Array], Any]:
    """Without the warning, at every call, that a model fitted on a DataFrame is given an array."""
    if hasattr(estimator, "feature_names_in_"):
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
    return compute


def _dense(result: Any) -> Array:
    array: Array = np.asarray(result.toarray() if hasattr(result, "toarray") else result)
    return array.astype(object) if array.dtype.kind == "U" else array


def _classes(estimator: Any) -> list[Any]:
    classes = getattr(estimator, "classes_", None)
    return list(classes) if isinstance(classes, np.ndarray) else []


def _set_jobs(estimator: Any, threads: int) -> None:
    """As many jobs as the replica has cores: `n_jobs=-1` would start one thread for each core of the machine."""
    parameters = estimator.get_params(deep=True) if hasattr(estimator, "get_params") else {}
    jobs = {name: threads for name in parameters if name == "n_jobs" or name.endswith("__n_jobs")}
    if jobs:
        estimator.set_params(**jobs)

"""The `python` format: an author's class with `load()` (optional) and `predict(batch)`, plain or async.

`predict` gets a list of inputs and returns a list of as many results, in order: one request or sixty-four. A result
that is an exception fails that item's request alone; raising fails the whole batch. The errors of `core.errors`
(`Invalid("text is missing")`) reach the client as what they are; any other exception is a `model_error`.
"""

import asyncio
import copy
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np

from plimsoll.core.errors import ModelFailed, ModelLoadError, RequestError
from plimsoll.core.request import Inputs, Items, Outputs
from plimsoll.core.tensors import ModelInfo
from plimsoll.models.examples import Example, authors_examples, read_examples
from plimsoll.models.hints import tensors_of_predict
from plimsoll.models.python_class import ClassLoader
from plimsoll.models.requirements import check_requirements
from plimsoll.models.source import ModelSource


class PythonModel:
    """See ports.model.Model. Async methods run on an event loop of the model's own, kept from load to close."""

    def __init__(self, source: ModelSource) -> None:
        self._source = source
        self._loader = ClassLoader(source)
        self._instance: Any = None
        self._predict: Callable[[list[Any]], Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._info = ModelInfo(name=source.name, platform="python", takes_items=True)
        self._examples: tuple[Example, ...] = ()
        self._warm_up: list[Any] = []

    @property
    def info(self) -> ModelInfo:
        return self._info

    @property
    def examples(self) -> tuple[Example, ...]:
        """The author's own: the class attribute or method `examples`."""
        return self._examples

    def load(self) -> None:
        if self._predict is not None:
            return
        check_requirements(self._source.requirements, file=self._loader.shown)
        author_class = self._loader.find()
        try:
            instance = author_class()
            load = getattr(instance, "load", None)
            if load is not None:
                self._settle(load())
            self._examples = authors_examples(instance)
        except ModelLoadError as error:
            raise ModelLoadError(error.reason, file=error.file or self._loader.shown, line=error.line) from error
        except (Exception, SystemExit) as error:
            raise self._loader.failed(error) from error
        predict = self._checked_predict(instance)
        inputs, outputs = tensors_of_predict(predict)
        self._info = ModelInfo(
            name=self._source.name, platform="python", inputs=inputs, outputs=outputs, takes_items=True
        )
        known: Sequence[Example] = self._examples
        if not known and self._source.directory:
            known = read_examples(self._source.directory, self._source.name)
        self._warm_up = [example.input for example in known]
        self._instance = instance
        self._predict = self._awaiting(predict) if inspect.iscoroutinefunction(predict) else predict

    def predict(self, requests: Sequence[Inputs]) -> list[Outputs | Exception]:
        predict = self._predict
        if predict is None:
            raise ModelFailed("the model is not loaded")
        batch = _values(requests[0]) if len(requests) == 1 else [v for request in requests for v in _values(request)]
        wanted = len(batch)
        try:
            results = predict(batch)
            if type(results) is not list:
                results = self._as_list(results)
        except RequestError:
            raise
        except (Exception, SystemExit) as error:
            raise ModelFailed(self._loader.author.tell(error)) from error
        if len(results) != wanted:
            raise ModelFailed(f"predict returned {len(results)} results for {wanted} inputs")
        return self._split(requests, results)

    def warm_up_inputs(self, size: int) -> Items | None:
        inputs = self._warm_up
        if not inputs:
            return None
        # Copies, because an author's predict may change what it gets.
        return Items([copy.deepcopy(inputs[index % len(inputs)]) for index in range(size)])

    def close(self) -> None:
        instance, self._instance, self._predict = self._instance, None, None
        try:
            close = getattr(instance, "close", None)
            if callable(close):
                self._settle(close())
        except Exception as error:
            raise ModelFailed(self._loader.author.tell(error)) from error
        finally:
            self._loader.close()
            if self._loop is not None:
                self._loop.run_until_complete(self._loop.shutdown_asyncgens())
                self._loop.close()
                self._loop = None

    def _split(self, requests: Sequence[Inputs], results: list[Any]) -> list[Outputs | Exception]:
        answers: list[Outputs | Exception] = []
        at = 0
        for request in requests:
            size = len(_values(request))
            own = results[at : at + size]
            at += size
            error = next((value for value in own if isinstance(value, BaseException)), None)
            answers.append(Items(own) if error is None else self._item_failed(error))
        return answers

    def _item_failed(self, error: BaseException) -> RequestError:
        if isinstance(error, RequestError):
            return error
        failed = ModelFailed(self._loader.author.tell(error))
        failed.__cause__ = error
        return failed

    def _as_list(self, results: Any) -> list[Any]:
        if inspect.isawaitable(results):
            results = self._settle(results)
        if isinstance(results, (list, tuple)):
            return list(results)
        if isinstance(results, np.ndarray) and results.ndim:
            rows: list[Any] = results.tolist() if results.ndim == 1 else list(results)
            return rows
        kind = type(results).__name__
        raise ModelFailed(f"predict returned {kind}, not a list with one result for each input")

    def _checked_predict(self, instance: Any) -> Callable[[list[Any]], Any]:
        predict: Callable[[list[Any]], Any] | None = getattr(instance, "predict", None)
        shown, name = self._loader.shown, type(instance).__name__
        if not callable(predict):
            raise ModelLoadError(f"class {name} has no method predict(self, batch)", file=shown)
        code = getattr(inspect.unwrap(predict), "__code__", None)
        line = code.co_firstlineno if code is not None else 0
        if inspect.isasyncgenfunction(predict) or inspect.isgeneratorfunction(predict):
            raise ModelLoadError(f"{name}.predict yields; it must return a list", file=shown, line=line)
        try:
            inspect.signature(predict).bind([])
        except TypeError as error:
            reason = f"{name}.predict must take one argument, the batch: def predict(self, batch) ({error})"
            raise ModelLoadError(reason, file=shown, line=line) from None
        except ValueError:  # a callable without a signature, such as a C function
            pass
        return predict

    def _awaiting(self, predict: Callable[[list[Any]], Awaitable[Any]]) -> Callable[[list[Any]], Any]:
        return lambda batch: self._settle(predict(batch))

    def _settle(self, result: Any) -> Any:
        """The result itself, or what it comes to when awaited."""
        if not inspect.isawaitable(result):
            return result
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(_await(result))


async def _await(result: Awaitable[Any]) -> Any:
    return await result


def _values(request: Inputs) -> list[Any]:
    if isinstance(request, Items):
        return request.values
    raise ModelFailed("a Python model takes items, not tensors")

"""One loaded model, whatever its format. `tests/contracts/test_models.py` runs one suite over all of them."""

from collections.abc import Sequence
from typing import Protocol

from plimsoll.core.request import Inputs, Outputs
from plimsoll.core.tensors import ModelInfo


class Model(Protocol):
    """Used by one thread at a time. `load` first; `info` is complete once it returned."""

    @property
    def info(self) -> ModelInfo: ...

    def load(self) -> None:
        """Raises ModelLoadError, naming file and line where they are known."""
        ...

    def predict(self, requests: Sequence[Inputs]) -> list[Outputs | Exception]:
        """One call for the whole batch: `requests` share a key. As many results as requests, in order.

        A result that is an exception fails that request alone. Raising fails the whole batch (ModelFailed).
        Outputs are checked by the caller for count, not for what JSON can't say.
        """
        ...

    def warm_up_inputs(self, size: int) -> Inputs | None:
        """A request of `size` items to warm up and to learn t(b) with; None where nobody can invent one."""
        ...

    def close(self) -> None: ...

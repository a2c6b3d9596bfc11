"""One file per model format, all behind `ports.model.Model`; `open_model` picks the one that a source names.

A format's library (onnxruntime, scikit-learn, …) is imported inside `load` of that format's file and nowhere else, so
that a replica pays only for what it serves. Starts no process, opens no socket, reads nothing but the model, its folder
and the examples beside it. Pickles are read only where `runtime.unsafeFormats` says so.
"""

from plimsoll.models.open import open_model
from plimsoll.models.source import ModelSource, guess_format, preload_modules

__all__ = ["ModelSource", "guess_format", "open_model", "preload_modules"]

"""From a source to a model of its format. Nothing is loaded yet: `Model.load` does that."""

from plimsoll.core.errors import ModelLoadError
from plimsoll.models.source import FORMATS, ModelSource, guess_format
from plimsoll.ports.model import Model


def open_model(source: ModelSource) -> Model:
    """Raises ModelLoadError where the format can't be told."""
    match source.format or guess_format(source.path):
        case "Python":
            from plimsoll.models.python import PythonModel

            return PythonModel(source)
        case "ONNX":
            from plimsoll.models.onnx import OnnxModel

            return OnnxModel(source)
        case "SKLearn":
            from plimsoll.models.sklearn import SklearnModel

            return SklearnModel(source)
        case None:
            raise ModelLoadError(
                f"its name does not tell the format; set spec.model.format to one of {', '.join(FORMATS)}",
                file=source.shown,
            )
        case other:
            raise ModelLoadError(f"unknown format {other!r}; expected one of {', '.join(FORMATS)}", file=source.shown)

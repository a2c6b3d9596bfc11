"""Runs a service's own examples in this process, without a server: the model's, then those of the files beside it."""

from collections.abc import Iterator

from plimsoll.app.model_source import model_source
from plimsoll.models import open_model
from plimsoll.models.examples import ExampleResult, read_examples, run_examples
from plimsoll.spec import ModelService

HOW_TO = (
    'none found; give the class `examples = [{"input": ..., "output": ...}]`, or write request.json beside the service'
)


def run_service(service: ModelService) -> Iterator[ExampleResult]:
    """Raises ModelLoadError where the model, or an example's file, can't be read."""
    model = open_model(model_source(service))
    model.load()
    try:
        yield from run_examples(model)
        yield from run_examples(model, read_examples(str(service.directory), service.name))
    finally:
        model.close()

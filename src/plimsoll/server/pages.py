"""What a replica tells of itself: health, metadata, metrics, at the Open Inference Protocol's and KServe v1's paths."""

from collections.abc import Callable

from plimsoll import __version__
from plimsoll.core.errors import Invalid
from plimsoll.core.tensors import ModelInfo
from plimsoll.telemetry.metrics import wants_openmetrics
from plimsoll.wire import oip

Answer = tuple[int, bytes, bytes]  # status, content type, body
_JSON = b"application/json"


class Pages:
    """`metrics` gives (content type, exposition). Ready means: the model is loaded, warm and not draining away."""

    def __init__(self, service: str, revision: str, metrics: Callable[[bool], tuple[str, bytes]]) -> None:
        self._service = service
        self._revision = revision
        self._metrics = metrics
        self._info: ModelInfo | None = None
        self.ready = False
        model = f"/v2/models/{service}"
        version = f"{model}/versions/{revision}"
        self._pages: dict[str, Callable[[], Answer]] = {
            "/v2": lambda: (200, _JSON, oip.server_metadata(__version__)),
            "/v2/health/live": lambda: (200, _JSON, oip.live_body()),
            "/v2/health/ready": self._ready,
            model: self._metadata,
            version: self._metadata,
            f"{model}/ready": self._model_ready,
            f"{version}/ready": self._model_ready,
            "/v1/models": lambda: (200, _JSON, b'{"models":["%b"]}' % service.encode()),
            f"/v1/models/{service}": self._model_ready,
        }

    def loaded(self, info: ModelInfo) -> None:
        self._info = info
        self.ready = True

    def answer(self, path: str, method: str, accept: bytes) -> Answer | None:
        """None where there is no such page."""
        if path == "/metrics":
            self._only_get(path, method)
            content_type, body = self._metrics(wants_openmetrics(accept))
            return 200, content_type.encode(), body
        page = self._pages.get(path)
        if page is None:
            return None
        self._only_get(path, method)
        return page()

    def _only_get(self, path: str, method: str) -> None:
        if method not in {"GET", "HEAD"}:
            raise Invalid(f"{path} wants GET, not {method[:20]}", status=405)

    def _ready(self) -> Answer:
        return 200 if self.ready else 503, _JSON, oip.server_ready_body(self.ready)

    def _model_ready(self) -> Answer:
        return 200 if self.ready else 503, _JSON, oip.model_ready_body(self._service, self.ready)

    def _metadata(self) -> Answer:
        if self._info is None:
            return 503, _JSON, b'{"error":"the model is still loading"}'
        return 200, _JSON, oip.model_metadata(self._info, self._revision)

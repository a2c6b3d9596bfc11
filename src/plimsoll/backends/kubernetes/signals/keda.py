"""KEDA's external scaler: is the service wanted at all, and how many replicas, over gRPC.

The trigger's metadata names the service; its namespace is the ScaledObject's. What is too old is UNAVAILABLE, which
KEDA takes for a failed trigger: the count stays.
"""

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from plimsoll.backends.kubernetes.names import DESIRED_METRIC
from plimsoll.backends.kubernetes.signals.book import NoSuchMetric, SignalBook, SignalError
from plimsoll.backends.kubernetes.signals.messages import MESSAGES, SERVICE
from plimsoll.core.errors import HostError

LOG = logging.getLogger(__name__)

_GRACE_S = 1.0


class KedaScaler:
    """`address`: HOST:PORT; port 0 for a free one, `port` is what it got. Plain text: it tells counts, to whom the
    network lets in. `credentials`: of a TLS server, instead."""

    def __init__(
        self,
        book: SignalBook,
        address: str,
        *,
        clock: Callable[[], float],
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        self._book, self._address, self._clock, self._credentials = book, address, clock, credentials
        self._server: grpc.aio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        """Raises HostError where the address is taken."""
        server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        server.add_generic_rpc_handlers((self._handlers(),))
        try:
            if self._credentials is None:
                self.port = server.add_insecure_port(self._address)
            else:
                self.port = server.add_secure_port(self._address, self._credentials)
        except RuntimeError as error:
            raise HostError(f"{self._address}: KEDA's scaler cannot listen there: {error}") from error
        await server.start()
        self._server = server

    async def close(self) -> None:
        if self._server is not None:
            await self._server.stop(_GRACE_S)

    def _handlers(self) -> grpc.GenericRpcHandler:
        def unary(method: Callable[..., Any], request: Any) -> grpc.RpcMethodHandler:
            return grpc.unary_unary_rpc_method_handler(
                method, request.FromString, lambda answer: answer.SerializeToString()
            )

        stream = grpc.unary_stream_rpc_method_handler(
            self._stream_is_active, MESSAGES.ScaledObjectRef.FromString, lambda answer: answer.SerializeToString()
        )
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "IsActive": unary(self._is_active, MESSAGES.ScaledObjectRef),
                "StreamIsActive": stream,
                "GetMetricSpec": unary(self._spec, MESSAGES.ScaledObjectRef),
                "GetMetrics": unary(self._metrics, MESSAGES.GetMetricsRequest),
            },
        )

    # --- the calls ----------------------------------------------------------------------------------------------------

    async def _is_active(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        namespace, name = await self._service(request, context)
        try:
            count = self._book.count(namespace, name, self._clock())
        except SignalError as error:
            return await _refuse(context, error)
        return MESSAGES.IsActiveResponse(result=count > 0)

    async def _stream_is_active(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        """At once, and at each turn from none to some and back."""
        namespace, name = await self._service(request, context)
        told: bool | None = None
        while True:
            news = self._book.news
            try:
                active = self._book.count(namespace, name, self._clock()) > 0
            except SignalError:
                await news.wait()  # the last word stands: KEDA asks GetMetrics for the reason
                continue
            if active is not told:
                told = active
                yield MESSAGES.IsActiveResponse(result=active)
            await news.wait()

    async def _spec(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        """One replica for each that is wanted."""
        await self._service(request, context)
        spec = MESSAGES.MetricSpec(metricName=DESIRED_METRIC, targetSize=1, targetSizeFloat=1.0)
        return MESSAGES.GetMetricSpecResponse(metricSpecs=[spec])

    async def _metrics(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        namespace, name = await self._service(request.scaledObjectRef, context)
        try:
            value = self._book.value(namespace, name, self._clock())
        except SignalError as error:
            return await _refuse(context, error)
        told = MESSAGES.MetricValue(metricName=DESIRED_METRIC, metricValue=-int(-value // 1), metricValueFloat=value)
        return MESSAGES.GetMetricsResponse(metricValues=[told])

    async def _service(self, reference: Any, context: grpc.aio.ServicerContext[Any, Any]) -> tuple[str, str]:
        name = reference.scalerMetadata.get("service", "")
        if not name or not reference.namespace:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the trigger's metadata needs service: NAME")
        return reference.namespace, name


async def _refuse(context: grpc.aio.ServicerContext[Any, Any], error: SignalError) -> None:
    code = grpc.StatusCode.NOT_FOUND if isinstance(error, NoSuchMetric) else grpc.StatusCode.UNAVAILABLE
    await context.abort(code, str(error))

"""KEDA's external scaler, asked by a client that was generated from KEDA's own interface."""

import asyncio

import pytest

grpc = pytest.importorskip("grpc", reason="needs pip install 'plimsoll-serve[grpc]'")

from plimsoll.backends.kubernetes.signals.book import SignalBook  # noqa: E402
from plimsoll.backends.kubernetes.signals.keda import KedaScaler  # noqa: E402
from plimsoll.backends.kubernetes.signals.messages import MESSAGES  # noqa: E402
from plimsoll.ports.signals import ServiceSignal  # noqa: E402

PROTO = """
syntax = "proto3";
package externalscaler;
message Reference { string name = 1; string namespace = 2; map<string, string> scalerMetadata = 3; }
message Active { bool result = 1; }
message Spec { string metricName = 1; int64 targetSize = 2; double targetSizeFloat = 3; }
message Specs { repeated Spec metricSpecs = 1; }
message Wanted { Reference scaledObjectRef = 1; string metricName = 2; }
message Value { string metricName = 1; int64 metricValue = 2; double metricValueFloat = 3; }
message Values { repeated Value metricValues = 1; }
"""


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """Message classes that protoc makes: the wire must fit them."""
    tools = pytest.importorskip("grpc_tools.protoc", reason="needs pip install grpcio-tools")
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    folder = tmp_path_factory.mktemp("proto")
    (folder / "x.proto").write_text(PROTO)
    assert tools.main(["", f"-I{folder}", f"--descriptor_set_out={folder}/x.bin", f"{folder}/x.proto"]) == 0
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString((folder / "x.bin").read_bytes()).file:
        pool.Add(file)
    return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"externalscaler.{name}"))


class Stage:
    def __init__(self, theirs):
        self.theirs, self.now = theirs, 100.0
        self.book = SignalBook(pod_labels=lambda namespace, pod: None)

    def publish(self, desired, **more):
        self.book.publish([ServiceSignal("shop", "mood", desired, self.now, **more)])

    async def __aenter__(self):
        self.scaler = KedaScaler(self.book, "127.0.0.1:0", clock=lambda: self.now)
        await self.scaler.start()
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.scaler.port}")
        return self

    async def __aexit__(self, *_):
        await self.channel.close()
        await self.scaler.close()

    def reference(self, service="mood", namespace="shop"):
        metadata = {"scalerAddress": "x:1"} | ({"service": service} if service else {})
        return self.theirs("Reference")(name="mood", namespace=namespace, scalerMetadata=metadata)

    def call(self, method, request, answer, *, stream=False):
        kind = self.channel.unary_stream if stream else self.channel.unary_unary
        asked = kind(
            f"/externalscaler.ExternalScaler/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=self.theirs(answer).FromString,
        )
        return asked(request)


def run(theirs, test):
    async def main():
        async with Stage(theirs) as stage, asyncio.timeout(30):
            await test(stage)

    asyncio.run(main())


def test_a_count_and_whether_it_is_any(theirs):
    async def test(stage):
        stage.publish(7)
        assert (await stage.call("IsActive", stage.reference(), "Active")).result is True
        (spec,) = (await stage.call("GetMetricSpec", stage.reference(), "Specs")).metricSpecs
        assert (spec.metricName, spec.targetSize, spec.targetSizeFloat) == ("plimsoll_desired_replicas", 1, 1.0)
        wanted = stage.theirs("Wanted")(scaledObjectRef=stage.reference(), metricName="plimsoll_desired_replicas")
        (value,) = (await stage.call("GetMetrics", wanted, "Values")).metricValues
        assert (value.metricName, value.metricValue, value.metricValueFloat) == ("plimsoll_desired_replicas", 7, 7.0)
        stage.publish(0)
        assert (await stage.call("IsActive", stage.reference(), "Active")).result is False

    run(theirs, test)


def test_on_an_old_cluster_the_value_is_past_the_tolerance(theirs):
    async def test(stage):
        stage.book.tolerance = 0.1
        stage.publish(12, current=11)
        wanted = stage.theirs("Wanted")(scaledObjectRef=stage.reference())
        (value,) = (await stage.call("GetMetrics", wanted, "Values")).metricValues
        assert (value.metricValue, value.metricValueFloat) == (13, 12.101)

    run(theirs, test)


def test_turns_from_none_to_some_are_pushed(theirs):
    async def test(stage):
        stage.publish(0)
        stream = stage.call("StreamIsActive", stage.reference(), "Active", stream=True)
        assert (await stream.read()).result is False
        stage.publish(0)
        stage.publish(1)
        assert (await stream.read()).result is True
        stage.publish(5)
        stage.publish(0)
        assert (await stream.read()).result is False
        stream.cancel()

    run(theirs, test)


@pytest.mark.parametrize(
    ("service", "code", "said"),
    [("", "INVALID_ARGUMENT", "needs service: NAME"), ("nobody", "NOT_FOUND", "no ModelService shop/nobody")],
)
def test_what_can_not_be_told(theirs, service, code, said):
    async def test(stage):
        stage.publish(3)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stage.call("IsActive", stage.reference(service), "Active")
        assert (refused.value.code().name, said in refused.value.details()) == (code, True)

    run(theirs, test)


def test_what_is_old_is_unavailable(theirs):
    async def test(stage):
        stage.publish(3)
        stage.now = 200.0
        for method, request in (
            ("IsActive", stage.reference()),
            ("GetMetrics", stage.theirs("Wanted")(scaledObjectRef=stage.reference())),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stage.call(method, request, "Active")
            assert refused.value.code().name == "UNAVAILABLE"

    run(theirs, test)


def test_every_message_has_the_fields_that_it_is_known_by():
    assert MESSAGES.ScaledObjectRef(scalerMetadata={"a": "b"}).scalerMetadata["a"] == "b"
    assert [field.number for field in MESSAGES.MetricValue.DESCRIPTOR.fields] == [1, 2, 3]

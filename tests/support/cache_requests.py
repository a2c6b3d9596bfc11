"""Requests for tests of the cache's key, without a server."""

from plimsoll.core.snapshot import CacheView
from plimsoll.gateway.cache.key import Keyer
from plimsoll.wire.http1 import Exchange

JSON = (b"content-type", b"application/json")


def view(ttl_s=60.0, max_bytes=2**24, **changes):
    return CacheView(ttl_s, max_bytes, **changes)


def post(body, *headers, path="/analyze", query="", method="POST", of=JSON):
    exchange = Exchange(method, path, query, "1.1", [*([of] if of else []), *headers], 0.0, None, False)
    exchange.body = body
    return exchange


def keys(*exchanges, tenant="", revision="r1", service="mood", **changes):
    keyer = Keyer(service, view(**changes))
    return [keyer.key(exchange, tenant, revision) for exchange in exchanges]


def only(exchange, **more):
    return keys(exchange, **more)[0]


def tensor(name, data="[1,2]", more=""):
    return f'{{"name":"{name}","shape":[1,2],"datatype":"FP32"{more},"data":{data}}}'


def infer(*tensors, request_id=None, more="", path="/v2/models/mood/infer"):
    start = "" if request_id is None else f'"id":"{request_id}",'
    return post(f'{{{start}"inputs":[{",".join(tensors)}]{more}}}'.encode(), path=path)

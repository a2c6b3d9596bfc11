"""Lists: selectors, pages, tables."""

import base64
import json

from tests.kube import selectors, tables
from tests.kube.errors import ApiError
from tests.kube.store import encode


def wanted(request):
    """A predicate over records, from the request's selectors."""
    takes_labels = selectors.labels(request.query.get("labelSelector"))
    takes_fields = selectors.fields(request.query.get("fieldSelector"))
    by_labels, by_fields = request.query.get("labelSelector"), request.query.get("fieldSelector")

    def takes(record):
        return (not by_labels or takes_labels(record.labels)) and (not by_fields or takes_fields(record.obj))

    return takes


def namespace_of(request):
    return request.namespace if request.kind.namespaced else ""


def list_page(api, request):
    """One page, as bytes."""
    kind, store = request.kind, api.store
    with store.lock:
        rv = store.rv
        found = [record for record in store.list(kind.store, namespace_of(request)) if wanted(request)(record)]
    meta = {"resourceVersion": str(rv)}
    if token := request.query.get("continue"):
        rv, after = json.loads(base64.b64decode(token))
        if rv < store.compacted:
            raise ApiError(410, "The provided continue parameter is too old to display a consistent list result.")
        found = [record for record in found if [record.namespace, record.name] > after]
        meta["resourceVersion"] = str(rv)
    limit = int(request.query.get("limit") or 0)
    if limit and len(found) > limit:
        left, found = len(found) - limit, found[:limit]
        last = [found[-1].namespace, found[-1].name]
        meta["continue"] = base64.b64encode(json.dumps([rv, last]).encode()).decode()
        meta["remainingItemCount"] = left
    if request.as_table:
        answer = tables.table(kind, found, rv, request.query.get("includeObject", "Metadata"))
        answer["metadata"] = meta
        return encode(answer)
    from tests.kube.server import versioned

    head = {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": meta}
    items = b",".join(versioned(kind, record) for record in found)
    return encode(head)[:-1] + b',"items":[' + items + b"]}"

"""What becomes of a service's objects when Plimsoll goes."""

from plimsoll.backends.kubernetes.install import leaving
from plimsoll.backends.kubernetes.operator import kinds


def test_of_every_kind_that_a_service_becomes_it_is_said_what_becomes_of_it():
    """A kind that is forgotten here would go with its ModelService, under what serves."""
    known = {*leaving.KEPT, *leaving.GONE}
    assert [
        one for one in (*kinds.WORKLOADS, *kinds.OWNED, *kinds.SHARED) if (one.api_version, one.kind) not in known
    ] == []

"""One replica: takes requests in, queues them by deadline, forms batches, runs the model, answers.

The replica alone keeps the budget, so it serves as well behind a mesh or an Ingress as behind our gateway. The event
loop never computes: models run in a worker thread or a worker process, and large JSON bodies go to a codec process.
Decisions are `policy` objects; nothing here decides which request runs, waits or is refused.
"""

from plimsoll.server.replica import Replica
from plimsoll.server.settings import ReplicaSettings

__all__ = ["Replica", "ReplicaSettings"]

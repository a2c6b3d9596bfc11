"""What a request needs of the door."""

from typing import TYPE_CHECKING, Protocol

from plimsoll.core.errors import RequestError
from plimsoll.core.outcome import Outcome
from plimsoll.gateway.attempt import Attempt
from plimsoll.gateway.service import Service
from plimsoll.wire.http1 import Exchange

if TYPE_CHECKING:
    from plimsoll.gateway.forwarding import Forwarding
    from plimsoll.gateway.tries import Tries


class Host(Protocol):
    def now(self) -> float: ...

    def short(self, service: Service, now: float) -> None:
        """No replica of `service` can take a request: the controller should hear of it at once."""
        ...

    def hold(self, forwarding: "Forwarding", now: float) -> None: ...

    def service_named(self, name: str) -> Service | None: ...

    def watch(self, forwarding: "Forwarding", until: float) -> None: ...

    def retried(self, service: Service) -> None: ...

    def hedge_later(self, tries: "Tries", attempt: Attempt, delay_s: float) -> None: ...

    def answer_error(self, exchange: Exchange, error: RequestError, request_id: bytes, revision: str) -> int: ...

    def ended(self, forwarding: "Forwarding", outcome: Outcome) -> None: ...

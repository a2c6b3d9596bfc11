"""The front door: finds the service, picks a replica, forwards, retries what was lost, holds while nobody is ready.

Bodies go on unparsed; heads are rebuilt. Which replica, whether to retry and how long to hold are `policy` objects.
A gateway serves on from its last snapshot while the controller is down.
"""

from plimsoll.gateway.gateway import Gateway
from plimsoll.gateway.settings import GatewaySettings

__all__ = ["Gateway", "GatewaySettings"]

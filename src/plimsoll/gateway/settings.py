"""What one gateway process needs to know, as one value."""

from dataclasses import dataclass, field

from plimsoll.wire.http1 import ClientTlsSettings, HttpSettings, TlsSettings


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    name: str
    listen: tuple[str, ...]  # `tcp:host:port` or `unix:/path`
    control: str  # the controllers' streams: `unix:/path`, or `tls:host:port`, several of these with commas between
    metrics: str | None = None  # a second listener for `/metrics` alone
    metrics_on_door: bool = True  # `/metrics` beside the services; only where the door is a loopback address
    max_held: int = 1024  # requests waiting for a first replica, a service
    max_held_bytes: int = 64 * 2**20
    max_idle_connections: int = 256  # kept open, a replica
    max_connections: int = 1024  # a replica; more requests than this wait for one to come free
    grace_s: float = 0.25  # a replica is told its deadline; we wait this much longer before we say `expired` for it
    drain_linger_s: float = 0.0
    drain_s: float = 30.0
    audit: str | None = None  # the file that every request leaves a line in
    http: HttpSettings = field(default_factory=HttpSettings)
    # On a cluster:
    control_ca: str = ""  # the file that says who may sign a controller's certificate
    control_token: str = ""  # the file with our own token for it
    watched: bool = False  # replicas are told by `Gateway.replicas`, not by snapshots
    tls_listen: tuple[str, ...] = ()  # HTTPS beside `listen`, from the moment its files are there
    tls: TlsSettings | None = None
    replica_tls: ClientTlsSettings | None = None  # what replicas at `tls:` addresses are shown

"""What names a request's session: a header or a cookie."""

from plimsoll.core.snapshot import AffinityType, AffinityView
from plimsoll.gateway.heads import Headers


class Affinity:
    def __init__(self, view: AffinityView) -> None:
        self._name = view.name.encode()
        self._cookie = view.type is AffinityType.COOKIE

    def key(self, headers: Headers) -> bytes | None:
        """None: this request names no session, and goes anywhere."""
        if not self._cookie:
            name = self._name
            return next((value for key, value in headers if key == name and value), None)
        for key, value in headers:
            if key == b"cookie":
                for pair in value.split(b";"):
                    name, _, text = pair.strip().partition(b"=")
                    if name == self._name and text:
                        return text
        return None

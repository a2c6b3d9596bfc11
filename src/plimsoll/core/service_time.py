"""How long a batch takes: t(b) = a + c·b with its spread. Learned by `insight.service_time`, used by every policy."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServiceTime:
    """`a_s`: what a call costs whatever its size; `c_s`: what each item adds; `sd_s`: the residuals' spread, all in
    seconds. `samples`: how many batches taught it (0: a guess, not to be trusted for refusing anybody)."""

    a_s: float
    c_s: float
    sd_s: float = 0.0
    samples: int = 0

    def predict(self, size: int) -> float:
        return self.a_s + self.c_s * size

    def capacity(self, size: int) -> float:
        """Items a second at batches of `size`."""
        seconds = self.predict(size)
        return size / seconds if seconds > 0 else float("inf")

    def largest_within(self, seconds: float) -> int:
        """The largest batch predicted to finish in `seconds`; 0 where not even one item would."""
        if seconds < self.predict(1):
            return 0
        return 10**9 if self.c_s <= 0 else int((seconds - self.a_s) / self.c_s + 1e-9)

"""A model that waits 4 ms and 1.5 ms an item: about 600/s in batches, 180/s one by one, and no CPU."""

import time


class Sleepy:
    def predict(self, batch):
        time.sleep(0.004 + 0.0015 * len(batch))
        return [{"ok": True} for _ in batch]

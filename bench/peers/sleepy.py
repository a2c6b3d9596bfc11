"""A model on a device that takes one call at a time: 4 ms and 1.5 ms an item, and no CPU. About 600/s in batches, 180/s
one by one."""

import threading
import time

_DEVICE = threading.Lock()


class Sleepy:
    def predict(self, batch):
        with _DEVICE:
            time.sleep(0.004 + 0.0015 * len(batch))
        return [{"ok": True} for _ in batch]

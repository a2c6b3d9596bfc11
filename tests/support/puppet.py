"""A model that does what its items say. Every call is a line of calls.log: the items' tags and the process."""

PUPPET = """
import json, math, os, signal, time
from pathlib import Path

HERE = Path(__file__).parent


class Puppet:
    def predict(self, batch):
        with open(HERE / "calls.log", "a") as log:
            log.write(json.dumps([os.getpid(), [self.tag(item) for item in batch]]) + "\\n")
        results = [self.one(item) for item in batch]
        return results[1:] if any(isinstance(i, dict) and i.get("do") == "short" for i in batch) else results

    def tag(self, item):
        return item.get("tag") if isinstance(item, dict) and isinstance(item.get("tag"), str) else None

    def one(self, item):
        do = item.get("do") if isinstance(item, dict) else None
        match do:
            case "raise":
                raise ValueError("the author's mistake")
            case "exit":
                raise SystemExit(5)
            case "error":
                return ValueError("this item alone")
            case "nan":
                return {"score": math.nan}
            case "object":
                return {"it": object()}
            case "wait":
                (HERE / (item["for"] + ".started")).touch()
                while not (HERE / item["for"]).exists():
                    time.sleep(0.002)
            case "sleep":
                time.sleep(item["s"])
            case "hang":
                (HERE / "hangs").touch()
                time.sleep(600)
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "big":
                return [[i + j / 8 for j in range(item["columns"])] for i in range(item["rows"])]
            case "pid":
                return os.getpid()
        return {"got": item}
"""

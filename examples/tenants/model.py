"""What is a text about? The words that it shares with each topic, weighed with care: 40 ms a call and 5 ms a text."""

import time

from plimsoll.core.errors import Invalid

TOPICS = {
    "sport": {"match": 2, "goal": 2, "team": 1, "season": 1, "coach": 1},
    "weather": {"rain": 2, "wind": 2, "sunny": 2, "season": 1, "cold": 1},
    "food": {"bread": 2, "soup": 2, "salt": 1, "oven": 1, "cold": 1},
}


class Topics:
    examples = [{"input": {"text": "a late goal in a cold match"}, "output": {"topic": "sport", "by": "topics"}}]

    def predict(self, batch):
        time.sleep(0.040 + 0.005 * len(batch))  # stands for a large model; yours computes
        return [self.topic(item) for item in batch]

    def topic(self, item):
        text = item.get("text") if isinstance(item, dict) else None
        if not isinstance(text, str):
            return Invalid('send {"text": "…"}')  # fails this item's request alone, as 400
        words = text.lower().split()
        scores = {topic: sum(weights.get(word, 0) for word in words) for topic, weights in TOPICS.items()}
        best = max(scores, key=scores.get)
        return {"topic": best if scores[best] else "unknown", "by": "topics"}

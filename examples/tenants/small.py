"""The same question as `model.py`, answered by the first word that is known: wrong more often, and done at once."""

from plimsoll.core.errors import Invalid

TOPICS = {"match": "sport", "goal": "sport", "rain": "weather", "wind": "weather", "bread": "food", "soup": "food"}


class TopicsSmall:
    examples = [{"input": {"text": "soup after the match"}, "output": {"topic": "food", "by": "topics-small"}}]

    def predict(self, batch):
        return [self.topic(item) for item in batch]

    def topic(self, item):
        text = item.get("text") if isinstance(item, dict) else None
        if not isinstance(text, str):
            return Invalid('send {"text": "…"}')
        known = (TOPICS[word] for word in text.lower().split() if word in TOPICS)
        return {"topic": next(known, "unknown"), "by": "topics-small"}

"""Is a text positive, negative or neutral? VADER's lexicon and rules: no download, about 10 us a sentence."""

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from plimsoll.core.errors import Invalid

NEUTRAL = 0.05  # VADER's own threshold on its compound score of -1 to 1


class Sentiment:
    examples = [
        {"input": {"text": "what a lovely day"}, "output": {"label": "POSITIVE", "score": 0.5859}},
        {"input": {"text": "this is awful"}, "output": {"label": "NEGATIVE", "score": -0.4588}},
        {"input": {"text": "the train leaves at noon"}, "output": {"label": "NEUTRAL", "score": 0.0}},
    ]

    def load(self):
        self.analyzer = SentimentIntensityAnalyzer()

    def predict(self, batch):
        return [self.analyze(item) for item in batch]

    def analyze(self, item):
        text = item.get("text") if isinstance(item, dict) else None
        if not isinstance(text, str):
            return Invalid('send {"text": "…"}')  # fails this item's request alone, as 400
        score = round(self.analyzer.polarity_scores(text)["compound"], 4)
        label = "POSITIVE" if score >= NEUTRAL else "NEGATIVE" if score <= -NEUTRAL else "NEUTRAL"
        return {"label": label, "score": score}

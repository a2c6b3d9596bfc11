"""A web app as tutorials show it: a route around a model."""

from fastapi import FastAPI
from pydantic import BaseModel


class TextInput(BaseModel):
    text: str


app = FastAPI()
WORDS = {"lovely": 1, "good": 1, "sad": -1}


@app.get("/health")
def health():
    return {"ok": True}


@app.post("/analyze")
def analyze(given: TextInput):
    score = sum(WORDS.get(word, 0) for word in given.text.split())
    return {"label": "POSITIVE" if score >= 0 else "NEGATIVE", "score": score}

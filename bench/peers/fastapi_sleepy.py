"""What a tutorial writes around `sleepy`: FastAPI and uvicorn, a plain `def`, which runs on the pool of 40 threads.

python fastapi_sleepy.py PORT
"""

import sys

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sleepy import Sleepy

model = Sleepy()
app = FastAPI()


class Item(BaseModel):
    a: float


@app.post("/sleepy")
def predict(item: Item) -> dict[str, object]:
    return model.predict([item.model_dump()])[0]


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False)

"""What a tutorial writes: FastAPI and uvicorn, the body as pydantic models, the model called in a plain `def`.

python fastapi_server.py MODEL.onnx PORT
"""

import sys

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options)


class Tensor(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class InferRequest(BaseModel):
    inputs: list[Tensor]


app = FastAPI()


@app.post("/v2/models/{name}/infer")
def infer(name: str, request: InferRequest) -> dict[str, object]:
    tensor = request.inputs[0]
    x = np.array(tensor.data, dtype=np.float32).reshape(tensor.shape)
    y = session.run(None, {"x": x})[0]
    output = {"name": "y", "shape": list(y.shape), "datatype": "FP32", "data": y.ravel().tolist()}
    return {"model_name": name, "outputs": [output]}


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="error", access_log=False)

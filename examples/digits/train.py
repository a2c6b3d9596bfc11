"""Trains a small network on scikit-learn's own handwritten digits and exports it to ONNX. About 2 seconds.

    python train.py [--if-missing] [--out FOLDER]

Writes digits.onnx: input `x`, FP32 [n, 64] (an 8x8 image by rows, 0 to 16), outputs `label` INT64 [n] and
`probabilities` FP32 [n, 10]. With --write-request also request.json and expected.json, from the unseen
image that it is surest of.
"""

import argparse
import json
import os
from pathlib import Path

HERE = Path(__file__).resolve().parent


def train():
    """(classifier, images to test with, their labels); the same every time, up to rounding: with one thread, for sums
    in another order end in other bits."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler

    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.25, random_state=0, stratify=y)
    classifier = make_pipeline(MinMaxScaler(), MLPClassifier((64,), max_iter=300, tol=1e-3, random_state=0))
    return classifier.fit(x_train, y_train), x_test, y_test


def export(classifier, path):
    """ZipMap off: probabilities are a tensor, not a list of dictionaries. None: any number of images."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType

    model = to_onnx(
        classifier,
        initial_types=[("x", FloatTensorType([None, 64]))],
        final_types=[("label", Int64TensorType([None])), ("probabilities", FloatTensorType([None, 10]))],
        options={"zipmap": False},
        target_opset=17,
    )
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_param = "n"
    partial = path.with_suffix(".partial")
    partial.write_bytes(model.SerializeToString())
    os.replace(partial, path)  # whoever watches the file sees the old one or the new one


def main():
    parser = argparse.ArgumentParser(description="Train the digits model and export it to ONNX.")
    parser.add_argument("--if-missing", action="store_true", help="do nothing where digits.onnx is there")
    parser.add_argument("--out", type=Path, default=HERE, help="the folder to write to")
    parser.add_argument("--write-request", action="store_true", help="write request.json and expected.json too")
    options = parser.parse_args()
    path = options.out / "digits.onnx"
    if options.if_missing and path.exists():
        return
    classifier, x_test, y_test = train()
    export(classifier, path)
    print(f"{path.name}: {classifier.score(x_test, y_test):.1%} of {len(y_test)} unseen digits right")
    if options.write_request:
        surest = classifier.predict_proba(x_test).max(axis=1).argmax()
        image = [int(pixel) for pixel in x_test[surest]]
        (options.out / "request.json").write_text(json.dumps({"x": image}) + "\n")
        (options.out / "expected.json").write_text(json.dumps({"label": int(y_test[surest])}) + "\n")


if __name__ == "__main__":
    main()

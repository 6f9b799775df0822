"""
A fit that survives its workers: a Ray cluster
==============================================

Ray Train starts two workers, which read the blocks of a data set and add up what each of them has.
If one dies, all begin again, and the result is the same. Predictions are made block by block.
"""

import tempfile
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import ray
from ray.train import FailureConfig, RunConfig
from sklearn.datasets import load_digits

from torchlogreg import TorchLogisticRegression
from torchlogreg.distributed import ray as on_ray

# %%
# The digits, in four blocks. Real ones come from ``ray.data.read_parquet`` and its kin.


def digits():
    """Return a frame with a column for each pixel, and the digit."""
    X, y = load_digits(return_X_y=True)
    return pd.DataFrame(X / 16, columns=[f"pixel{n}" for n in range(64)]).assign(digit=y)


# %%
# The run leaves its checkpoint, the fitted estimator, in ``storage_path``: a folder that all
# workers can write to. Up to three deaths are survived.

if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    frame = digits()
    data = ray.data.from_pandas([frame[n::4] for n in range(4)])
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        model = on_ray.fit(
            TorchLogisticRegression(),
            data,
            label_column="digit",
            num_workers=2,
            run_config=RunConfig(storage_path=folder, failure_config=FailureConfig(max_failures=3)),
        )
        print(f"{time.perf_counter() - start:.1f} s, nearly all of it to start the workers")

    one = TorchLogisticRegression().fit(frame.drop(columns="digit"), frame["digit"])
    print("largest difference from one process:", np.abs(model.coef_ - one.coef_).max())

    # Lazily: nothing is computed before the rows are asked for.
    scored = on_ray.predict_proba(model, data)
    found = pd.DataFrame(scored.take_all())
    ray.shutdown()

    proba = np.stack(found["predict_proba"])
    doubtful = proba.max(axis=1).argsort()[:5]
    figure, axes = plt.subplots(1, 5, figsize=(9, 2.2), layout="constrained")
    for ax, row in zip(axes, doubtful, strict=True):
        ax.imshow(found.iloc[row, :64].to_numpy(float).reshape(8, 8), cmap="gray_r")
        first, second = proba[row].argsort()[-2:][::-1]
        ax.set_title(f"{found['digit'][row]}: {first} or {second}?")
        ax.axis("off")
    plt.show()

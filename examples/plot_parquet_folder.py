"""
A folder of Parquet files that is larger than the memory it may take
====================================================================

Rows in files are read block by block, whenever they are needed: with an exact solver, once an
iteration. The minimiser is that of the same rows in memory. Here the files have 32 MB and the fit
may take 8; neither number matters to how it is written.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from torchlogreg import TorchLogisticRegression, blocks

folder = Path(tempfile.mkdtemp())
rng = np.random.default_rng(0)
truth = rng.normal(size=20)
names = [f"x{column}" for column in range(len(truth))]

# %%
# Files as another program might write them: a column for each feature, and one for the label.

parts = []
for number in range(8):
    X = rng.normal(size=(50_000, len(truth))).astype(np.float32)
    clicked = X @ truth + rng.logistic(size=len(X)) > 0
    columns = dict(zip(names, X.T, strict=True)) | {"clicked": clicked}
    pq.write_table(pa.table(columns), folder / f"part-{number}.parquet", row_group_size=10_000)
    parts.append((X, clicked))

# %%
# ``budget`` is the memory for blocks, and for what a fit keeps for every row. By default it is a
# quarter of what the machine has; data that fits in is read once.

rows = blocks.from_parquet(folder, target="clicked", budget=8_000_000)
model = TorchLogisticRegression(tol=1e-6).fit(rows)
print(f"{model.solver_}: {model.n_iter_[0]} iterations, gradient norm {model.optimality_:.1e}")

# %%
# The same from memory.

X, clicked = (np.concatenate(part) for part in zip(*parts, strict=True))
in_memory = TorchLogisticRegression(tol=1e-6).fit(X, clicked)
difference = np.abs(model.coef_ - in_memory.coef_).max()
print(f"largest difference of a coefficient: {difference:.1e}")
print(f"accuracy, read again from the files: {model.score(rows):.4f}")

# %%

fig, ax = plt.subplots(layout="constrained")
ax.plot(truth, in_memory.coef_[0], "o", mfc="none", ms=10, label="in memory")
ax.plot(truth, model.coef_[0], "x", label="from files")
ax.axline((0, 0), slope=1, color="k", linewidth=0.5)
ax.set(xlabel="true coefficient", ylabel="coefficient", title="400,000 rows in a folder")
ax.legend()
plt.show()

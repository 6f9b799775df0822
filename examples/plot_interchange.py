"""
A model leaves the house
========================

A model is fitted on tensors, stored in a file of a few kilobytes, and used where there is neither a
GPU nor this package: as scikit-learn's estimator, and as a linear layer of PyTorch.
"""

# %%
# The digits, as tensors. What comes out are tensors, too.

import pickle

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from torchlogreg import TorchLogisticRegression
from torchlogreg.interchange import from_sklearn, to_sklearn

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)
tensors = torch.from_numpy(X_train), torch.from_numpy(y_train)
model = TorchLogisticRegression(C=0.1).fit(*tensors)
proba = model.predict_proba(torch.from_numpy(X_test))
print(type(proba), proba.dtype)

# %%
# A file holds the coefficients, and hardly anything else. Fitted on a GPU, it is loaded on the CPU
# where there is no GPU.

stored = pickle.dumps(model)
print(f"{len(stored)} bytes, {model.coef_.nbytes + model.intercept_.nbytes} of them coefficients")
loaded = pickle.loads(stored)
assert torch.equal(loaded.predict_proba(torch.from_numpy(X_test)), proba)

# %%
# scikit-learn's estimator has the same predictions; what converts that one to ONNX or PMML, or
# explains it, needs nothing of ours. The way back is as short.

theirs = to_sklearn(model)
print(theirs)
print("largest difference:", np.abs(theirs.predict_proba(X_test) - proba.numpy()).max())
print("score of the one that came back:", from_sklearn(theirs).score(X_test, y_test))

# %%
# The weights load into a linear layer by the names that these have everywhere in PyTorch.

layer = torch.nn.Linear(64, 10, dtype=torch.float64)
layer.load_state_dict(model.module_.state_dict())
logits = layer(torch.from_numpy(X_test)).detach()

# %%
# The rows about which all three agree that they do not know.

sure = torch.softmax(logits, dim=1).max(dim=1).values
doubtful = sure.argsort()[:5]
figure, axes = plt.subplots(1, 5, figsize=(8, 2))
for ax, row in zip(axes, doubtful.tolist(), strict=True):
    ax.imshow(X_test[row].reshape(8, 8), cmap="gray_r")
    ax.set_title(f"{theirs.predict(X_test[[row]])[0]}? ({sure[row]:.0%})")
    ax.axis("off")
plt.show()

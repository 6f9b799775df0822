"""
A linear probe on the embeddings of a network
=============================================

How good are the features of a network? A logistic regression on top of them, with the network
frozen, is the usual answer. Here the network is small and its weights are random and fixed: what
it computes is more useful than the pixels all the same. The strength of the penalty is found by a
sweep over ``C``, every fit starting at the coefficients of the last.
"""

import copy
import time

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from torchlogreg import TorchLogisticRegression

digits = load_digits()
images = torch.from_numpy(digits.images).float().unsqueeze(1) / 16

# %%
# A convolution, a rectifier, pooling: 576 features from 64 pixels. The weights come from a
# generator of their own.

generator = torch.Generator().manual_seed(0)
network = nn.Sequential(nn.Conv2d(1, 64, kernel_size=3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
with torch.no_grad():
    for parameter in network.parameters():
        parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    features = network(images)
print("embeddings:", tuple(features.shape))

# %%
# Tensors go in as they are, and stay on their device: after a network on a GPU, the probe is
# fitted there, too.

labels = torch.from_numpy(digits.target)
train, rest = train_test_split(np.arange(len(labels)), test_size=0.5, random_state=0)
valid, test = train_test_split(rest, test_size=0.5, random_state=0)
sweep = np.logspace(-5, 2, 15)
accuracies = {}
for name, X in [("pixels", images.flatten(1)), ("embeddings", features)]:
    probe = TorchLogisticRegression(warm_start=True)
    start = time.perf_counter()
    fits = [copy.deepcopy(probe.set_params(C=C).fit(X[train], labels[train])) for C in sweep]
    seconds = time.perf_counter() - start
    accuracies[name] = [fit.score(X[valid], labels[valid]) for fit in fits]
    best = int(np.argmax(accuracies[name]))
    accuracy = fits[best].score(X[test], labels[test])
    print(f"{name:10}: {len(sweep)} fits in {seconds:.2f} s")
    print(f"{name:10}: C = {sweep[best]:.2g} by validation, test accuracy {accuracy:.4f}")

# %%

fig, ax = plt.subplots(layout="constrained")
for name, values in accuracies.items():
    ax.semilogx(sweep, values, marker="o", label=name)
ax.set(xlabel="C", ylabel="validation accuracy", title="Linear probe of a random network")
ax.legend()
plt.show()

"""
The fitted model as the head of a PyTorch model
===============================================

``module_`` is a ``torch.nn.Module`` with the fitted coefficients. Behind the layers that computed
the features it makes one network, that can be saved, exported and trained further. Here an exact
fit replaces the first hundreds of epochs of the head, and a fine-tuning of all layers follows.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from torchlogreg import TorchLogisticRegression

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = (
    torch.from_numpy(part) for part in train_test_split(X / 16, y, test_size=0.5, random_state=0)
)
X_train, X_test = X_train.float(), X_test.float()
generator = torch.Generator().manual_seed(0)


def make_body():
    """Return a hidden layer with fixed random weights."""
    body = nn.Sequential(nn.Linear(64, 100), nn.Tanh())
    with torch.no_grad():
        for parameter in body.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator.manual_seed(0)))
    return body


# %%
# The head is fitted on what the body computes, exactly and in one call.

body = make_body()
with torch.no_grad():
    features = body(X_train)
model = TorchLogisticRegression(C=1.0).fit(features, y_train)
network = nn.Sequential(body, model.module_)
print(network)

# %%
# The logits of the network are those of the estimator.

with torch.no_grad():
    same = torch.allclose(network(X_test), model.decision_function(body(X_test)))
print("the same logits:", same)

# %%
# Fine-tuning: the whole network, from a fitted head and from one of zeros.


def fine_tune(network, epochs=60):
    """Train all layers with Adam; return the test accuracy at every epoch."""
    optimizer = torch.optim.Adam(network.parameters(), lr=0.003)
    accuracies = []
    for _ in range(epochs):
        accuracies.append((network(X_test).argmax(1) == y_test).float().mean().item())
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(X_train), y_train).backward()
        optimizer.step()
    return accuracies


curves = {
    "fitted head": fine_tune(network),
    "head of zeros": fine_tune(nn.Sequential(make_body(), type(model.module_)(100, 10))),
}
fig, ax = plt.subplots(layout="constrained")
for name, accuracies in curves.items():
    ax.plot(accuracies, label=name)
    print(f"{name}: {accuracies[0]:.3f} before, {accuracies[-1]:.3f} after fine-tuning")
ax.set(xlabel="epochs of fine-tuning", ylabel="test accuracy", title="A head to start from")
ax.legend()
plt.show()

"""torch.optim.LBFGS with autograd, as one writes it by hand."""

import torch
import torch._dynamo
from scipy import sparse
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from benchmarks.competitors.not_applicable import NotApplicableError


def fit(X, y, C, max_iter=10_000, tol=1e-4, tolerance_change=None):
    """Minimise the mean penalised loss of a linear layer from zero weights.

    ``tol`` bounds the gradient. ``tolerance_change`` is torch's by default, or less for a tighter
    tolerance: otherwise that would not be reached.
    """
    if sparse.issparse(X):
        raise NotApplicableError("torch.nn.Linear takes no sparse matrix")
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    n_classes = int(y.max()) + 1
    n_outputs = 1 if n_classes == 2 else n_classes
    layer = torch.nn.Linear(X.shape[1], n_outputs, dtype=X.dtype)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimizer = torch.optim.LBFGS(
        layer.parameters(),
        max_iter=max_iter,
        tolerance_grad=tol,
        tolerance_change=1e-5 * tol if tolerance_change is None else tolerance_change,
        history_size=10,
        line_search_fn="strong_wolfe",
    )

    def closure():
        optimizer.zero_grad()
        eta = layer(X)
        if n_outputs == 1:
            loss = binary_cross_entropy_with_logits(eta[:, 0], y.to(X.dtype))
        else:
            loss = cross_entropy(eta, y)
        loss = loss + layer.weight.square().sum() / (2 * C * len(y))
        loss.backward()
        return loss

    optimizer.step(closure)
    n_iter = optimizer.state[layer.weight]["n_iter"]
    return layer.weight.detach().numpy(), layer.bias.detach().numpy(), n_iter

"""
Fewer features with a stronger penalty
======================================

With ``l1_ratio=1`` the penalty is on the absolute values of the weights: the stronger it is, the
more of them are exactly zero. A path shows in which order features enter. Each model starts at the
one before, so that all of them together take little more than one.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from torchlogreg import TorchLogisticRegression, logistic_regression_path
from torchlogreg.plotting import CoefficientPathDisplay

data = load_breast_cancer()
X_train, X_test, y_train, y_test = train_test_split(data.data, data.target, random_state=0)
scaled = StandardScaler().fit_transform(X_train)

# %%
# From the penalty with which all weights are zero to one that is a thousand times weaker.

path = logistic_regression_path(scaled, y_train, n_Cs=40)
for i in range(0, 40, 6):
    print(
        f"C={path.Cs[i]:7.4f}: {path.n_nonzero[i]:2d} features, "
        f"objective {path.objectives[i]:.4f}, optimality {path.optimality[i]:.0e}"
    )

fig, ax = plt.subplots(layout="constrained")
CoefficientPathDisplay.from_path(path, ax=ax)
ax.set_title("Breast cancer: weights of 30 features")
plt.show()

# %%
# Which C? The strongest penalty that predicts nearly as well as the best, by cross-validation.


def model(C):
    """Scaling and a sparse model."""
    return make_pipeline(StandardScaler(), TorchLogisticRegression(C=C, l1_ratio=1.0))


scores = np.array([cross_val_score(model(C), X_train, y_train).mean() for C in path.Cs[::4]])
chosen = path.Cs[::4][scores >= scores.max() - 0.01][0]
pipeline = model(chosen).fit(X_train, y_train)
weights = pipeline[-1].coef_[0]
print(f"C={chosen:.3f}: accuracy {pipeline.score(X_test, y_test):.3f} on new rows, with")
for j in np.flatnonzero(weights):
    print(f"  {data.feature_names[j]:25s} {weights[j]:+.2f}")

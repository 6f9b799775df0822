"""
Forty-five penalties, five folds, one fit
=========================================

How strong should the penalty be? Cross-validation asks every fold, for every C: here 225 models of
the digits, and those of all rows. They are solved together: each C begins where those before it
lead, and all folds share the products with X.
"""

import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from torchlogreg import TorchLogisticRegression, TorchLogisticRegressionCV
from torchlogreg.plotting import CoefficientPathDisplay, ScoreCurveDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0, stratify=y)

start = time.perf_counter()
single = TorchLogisticRegression().fit(X_train, y_train)
one = time.perf_counter() - start
start = time.perf_counter()
model = TorchLogisticRegressionCV(Cs=np.logspace(-5, 5, 45), cv=5).fit(X_train, y_train)
seconds = time.perf_counter() - start
print(f"One model {one:.3f} s; {model.scores_.size} models and a refit {seconds:.2f} s.")
print(f"C={model.C_:.3g}: log loss {-model.score(X_test, y_test):.4f} on new rows,")
print(f"accuracy {(model.predict(X_test) == y_test).mean():.4f}.")

# %%
# The best C, or the strongest penalty that is not clearly worse? With the rule of one standard
# error the model is simpler, for a score that the folds cannot tell from the best.

simple = TorchLogisticRegressionCV(
    Cs=np.logspace(-5, 5, 45), cv=5, selection="one_standard_error"
).fit(X_train, y_train)
print(f"One standard error: C={simple.C_:.3g} instead of {model.C_:.3g},")
print(f"accuracy {(simple.predict(X_test) == y_test).mean():.4f}.")

fig, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
ScoreCurveDisplay.from_estimator(model, ax=axes[0])
axes[0].axvline(simple.C_, color="0.5", linewidth=1, linestyle=":")
axes[0].set_title("Best C (dashed), one standard error (dotted)")
CoefficientPathDisplay.from_estimator(model, label=3, ax=axes[1], linewidth=0.7)
axes[1].set_title("Weights of the 3, mean of the folds")
plt.show()

# %%
# Every model of the grid is there, with its score, its iterations and its optimality.

best = model.best_index_
print(f"{model.n_iter_.sum()} iterations in all; gradients up to {model.optimality_.max():.0e}.")
print(f"Scores of the best: {model.scores_[:, 0, best].round(4)}")

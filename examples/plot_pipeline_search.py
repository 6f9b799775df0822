"""
A pipeline searched at once
===========================

Scaling belongs into the folds, and so do a projection and class weights. ``BatchedGridSearchCV``
is used like ``GridSearchCV``. For each number of components it fits the transformers once per fold,
and all penalties are solved together.
"""

import time

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from torchlogreg import BatchedGridSearchCV, TorchLogisticRegression

X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)

pipeline = Pipeline(
    [("scale", StandardScaler()), ("pca", PCA()), ("model", TorchLogisticRegression())]
)
grid = {
    "pca__n_components": [5, 10, 20],
    "model__C": np.logspace(-3, 2, 11),
    "model__class_weight": [None, "balanced"],
}

# %%
# The same search twice: the results agree, the times do not.

seconds = {}
for search_class in (BatchedGridSearchCV, GridSearchCV):
    search = search_class(pipeline, grid, cv=5, scoring="neg_log_loss")
    start = time.perf_counter()
    search.fit(X_train, y_train)
    seconds[search_class.__name__] = time.perf_counter() - start
    print(
        f"{search_class.__name__:20s} {seconds[search_class.__name__]:.2f} s, "
        f"best {search.best_score_:.5f} with {search.best_params_}"
    )
    print(f"{'':20s} accuracy on new rows {search.best_estimator_.score(X_test, y_test):.4f}")

# %%
# The table of all candidates is that of ``GridSearchCV``.

frame = pd.DataFrame(search.cv_results_)
columns = ["param_pca__n_components", "param_model__C", "mean_test_score", "std_test_score"]
print(frame.sort_values("rank_test_score")[columns].head().to_string(index=False))

"""
Iris in a pipeline
==================

A scaler and our classifier in one pipeline, the strength of the penalty by cross-validation,
the certificate of the optimum, and the fitted model as a torch module.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_iris
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from torchlogreg import TorchLogisticRegression

# %%
# Labels may be strings. Nothing else is special about the pipeline.
iris = load_iris()
X_train, X_test, y_train, y_test = train_test_split(
    iris.data, iris.target_names[iris.target], random_state=0, stratify=iris.target
)
pipeline = make_pipeline(StandardScaler(), TorchLogisticRegression())
search = GridSearchCV(pipeline, {"torchlogisticregression__C": [0.01, 0.1, 1, 10, 100]})
search.fit(X_train, y_train)
print("best C:       ", search.best_params_["torchlogisticregression__C"])
print("test accuracy:", search.score(X_test, y_test))

# %%
# The gradient norm at the solution says how close it is to the optimum.
model = search.best_estimator_[-1]
print("iterations:   ", model.n_iter_[0])
print("gradient norm:", model.optimality_)

# %%
# The fitted model is a ``torch.nn.Module``, ready to be a part of a larger one.
scaled = torch.from_numpy(search.best_estimator_[0].transform(X_test[:3]))
print(model.module_)
print(torch.softmax(model.module_(scaled), dim=-1))

# %%
# scikit-learn's displays take the whole search.
ConfusionMatrixDisplay.from_estimator(search, X_test, y_test, cmap="Blues", colorbar=False)
plt.title(f"Iris: test accuracy {search.score(X_test, y_test):.3f}")
plt.show()

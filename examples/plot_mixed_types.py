"""
Numbers and categories: a data frame through a ColumnTransformer
================================================================

Patients with diabetes: will the disease progress more than in half of them? Some columns of the
pandas data frame are numbers, with holes, others are categories. Each kind is prepared in its own
way, and our classifier stands at the end of the pipeline as scikit-learn's would, with
scikit-learn's own displays for what it predicts.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.calibration import CalibrationDisplay
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes
from sklearn.impute import SimpleImputer
from sklearn.metrics import RocCurveDisplay
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from torchlogreg import TorchLogisticRegression

patients, progression = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
patients["sex"] = patients["sex"].map({1: "a", 2: "b"}).astype("category")
patients["age"] = pd.cut(patients["age"], [0, 30, 45, 60, 100], labels=["-30", "-45", "-60", "61-"])
rng = np.random.default_rng(0)
patients["bp"] = patients["bp"].mask(rng.random(len(patients)) < 0.1)  # some were not measured
outcome = np.where(progression > progression.median(), "worse", "stable")
print(patients.head(3))

# %%
# Labels are strings; the columns are named, and so are those that come out of the transformer.

categories = ["age", "sex"]
numbers = [column for column in patients if column not in categories]
prepare = ColumnTransformer(
    [
        ("number", make_pipeline(SimpleImputer(), StandardScaler()), numbers),
        ("category", OneHotEncoder(drop="if_binary", sparse_output=False), categories),
    ],
    verbose_feature_names_out=False,
).set_output(transform="pandas")
model = make_pipeline(prepare, TorchLogisticRegression(C=0.5, class_weight="balanced"))
X_train, X_test, y_train, y_test = train_test_split(
    patients, outcome, test_size=0.4, random_state=0, stratify=outcome
)
model.fit(X_train, y_train)
print(f"test accuracy {model.score(X_test, y_test):.3f}")
coef = pd.Series(model[-1].coef_[0], index=model[-1].feature_names_in_)
print(coef.sort_values(key=abs, ascending=False).round(2).head(5).to_string())

# %%

fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
RocCurveDisplay.from_estimator(model, X_test, y_test, ax=left, plot_chance_level=True)
CalibrationDisplay.from_estimator(model, X_test, y_test, ax=right, n_bins=6, strategy="quantile")
left.set_title("ROC curve")
right.set_title("Calibration")
plt.show()

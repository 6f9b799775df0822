"""The tools that scikit-learn has around an estimator: each is used once, and a number checked.

The number is what the tool gives with scikit-learn's own estimator at the same optimum.
"""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import (
    calibration,
    ensemble,
    feature_selection,
    frozen,
    inspection,
    metrics,
    model_selection,
    multiclass,
    multioutput,
    pipeline,
    semi_supervised,
)
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from torchlogreg import TorchLogisticRegression

mpl.use("agg")
X, Y = load_breast_cancer(return_X_y=True)
X = StandardScaler().fit_transform(X)[:, :8]
X_IRIS, Y_IRIS = load_iris(return_X_y=True)
X_IRIS = StandardScaler().fit_transform(X_IRIS)
SETTINGS = {"tol": 1e-9}
GRID = {"C": [0.01, 1.0]}
FOLDS = model_selection.StratifiedKFold(3)


def searched(search):
    return search.fit(X, Y).cv_results_["mean_test_score"]


def fitted(tool):
    return tool.fit(X, Y).predict_proba(X)


def calibrated(method):
    return lambda m: fitted(calibration.CalibratedClassifierCV(m, method=method, cv=FOLDS))


def column(m):
    steps = ColumnTransformer([("first", PCA(2), [0, 1, 2])], remainder="passthrough")
    return fitted(pipeline.make_pipeline(steps, m))


def union(m):
    return fitted(pipeline.make_pipeline(pipeline.make_union(PCA(2), StandardScaler()), m))


def halving(m):
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401

    search = model_selection.HalvingGridSearchCV(m, GRID, cv=FOLDS, random_state=0)
    return searched(search)


def random_halving(m):
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401

    search = model_selection.HalvingRandomSearchCV(
        m, {"C": [0.01, 0.1, 1.0]}, cv=FOLDS, random_state=0
    )
    return searched(search)


def chains(kind):
    Y_two = np.column_stack([Y, X[:, 0] > 0]).astype(int)
    return lambda m: np.asarray(kind(m).fit(X[:, 1:], Y_two).predict(X[:, 1:]))


def labels_spread(m):
    y = Y.copy()
    y[::3] = -1
    return fitted_on(semi_supervised.SelfTrainingClassifier(m), y)


def fitted_on(tool, y):
    return tool.fit(X, y).predict_proba(X)


def importances(m):
    return inspection.permutation_importance(m.fit(X, Y), X, Y, random_state=0).importances_mean


def dependence(m):
    return inspection.partial_dependence(m.fit(X, Y), X, [0], grid_resolution=5)["average"]


def boundary(m):
    display = inspection.DecisionBoundaryDisplay.from_estimator(
        m.fit(X[:, :2], Y), X[:, :2], grid_resolution=10, response_method="predict_proba"
    )
    return display.response


def dependence_display(m):
    display = inspection.PartialDependenceDisplay.from_estimator(
        m.fit(X, Y), X, [0], grid_resolution=5
    )
    return display.pd_results[0]["average"]


TOOLS = {
    "GridSearchCV": lambda m: searched(model_selection.GridSearchCV(m, GRID, cv=FOLDS)),
    "RandomizedSearchCV": lambda m: searched(
        model_selection.RandomizedSearchCV(m, GRID, n_iter=2, cv=FOLDS, random_state=0)
    ),
    "HalvingGridSearchCV": halving,
    "HalvingRandomSearchCV": random_halving,
    "cross_val_score": lambda m: model_selection.cross_val_score(m, X, Y, cv=FOLDS),
    "cross_val_predict": lambda m: model_selection.cross_val_predict(
        m, X, Y, cv=FOLDS, method="predict_proba"
    ),
    "cross_validate": lambda m: model_selection.cross_validate(
        m, X, Y, cv=FOLDS, scoring="neg_log_loss"
    )["test_score"],
    "learning_curve": lambda m: model_selection.learning_curve(m, X, Y, cv=FOLDS)[2],
    "validation_curve": lambda m: model_selection.validation_curve(
        m, X, Y, param_name="C", param_range=[0.01, 1.0], cv=FOLDS
    )[1],
    "permutation_test_score": lambda m: model_selection.permutation_test_score(
        m, X, Y, cv=FOLDS, n_permutations=5, random_state=0
    )[1],
    "LearningCurveDisplay": lambda m: (
        model_selection.LearningCurveDisplay.from_estimator(m, X, Y, cv=FOLDS).test_scores
    ),
    "ValidationCurveDisplay": lambda m: (
        model_selection.ValidationCurveDisplay.from_estimator(
            m, X, Y, param_name="C", param_range=[0.01, 1.0], cv=FOLDS
        ).test_scores
    ),
    "FixedThresholdClassifier": lambda m: (
        model_selection.FixedThresholdClassifier(m, threshold=0.3).fit(X, Y).predict(X)
    ),
    "TunedThresholdClassifierCV": lambda m: np.array(
        [model_selection.TunedThresholdClassifierCV(m, cv=FOLDS).fit(X, Y).best_score_]
    ),
    "CalibratedClassifierCV sigmoid": calibrated("sigmoid"),
    "CalibratedClassifierCV isotonic": calibrated("isotonic"),
    "CalibrationDisplay": lambda m: (
        calibration.CalibrationDisplay.from_estimator(m.fit(X, Y), X, Y).prob_true
    ),
    "StackingClassifier": lambda m: fitted(
        ensemble.StackingClassifier([("ours", m)], final_estimator=m, cv=FOLDS)
    ),
    "VotingClassifier": lambda m: fitted(
        ensemble.VotingClassifier([("a", m), ("b", m)], voting="soft")
    ),
    "BaggingClassifier": lambda m: fitted(
        ensemble.BaggingClassifier(m, n_estimators=3, random_state=0)
    ),
    "AdaBoostClassifier": lambda m: fitted(
        ensemble.AdaBoostClassifier(m, n_estimators=5, random_state=0)
    ),
    "GradientBoostingClassifier init": lambda m: fitted(
        ensemble.GradientBoostingClassifier(init=m, n_estimators=3, random_state=0)
    ),
    "OneVsRestClassifier": lambda m: (
        multiclass.OneVsRestClassifier(m).fit(X_IRIS, Y_IRIS).predict_proba(X_IRIS)
    ),
    "OneVsOneClassifier": lambda m: (
        multiclass.OneVsOneClassifier(m).fit(X_IRIS, Y_IRIS).decision_function(X_IRIS)
    ),
    "OutputCodeClassifier": lambda m: (
        multiclass.OutputCodeClassifier(m, random_state=0).fit(X_IRIS, Y_IRIS).predict(X_IRIS)
    ),
    "MultiOutputClassifier": chains(multioutput.MultiOutputClassifier),
    "ClassifierChain": chains(lambda m: multioutput.ClassifierChain(m, random_state=0)),
    "SelectFromModel": lambda m: feature_selection.SelectFromModel(m).fit(X, Y).get_support(),
    "RFE": lambda m: feature_selection.RFE(m, n_features_to_select=3).fit(X, Y).ranking_,
    "RFECV": lambda m: (
        feature_selection.RFECV(m, cv=FOLDS).fit(X, Y).cv_results_["mean_test_score"]
    ),
    "SequentialFeatureSelector": lambda m: (
        feature_selection.SequentialFeatureSelector(m, n_features_to_select=2, cv=FOLDS)
        .fit(X, Y)
        .get_support()
    ),
    "permutation_importance": importances,
    "partial_dependence": dependence,
    "PartialDependenceDisplay": dependence_display,
    "DecisionBoundaryDisplay": boundary,
    "RocCurveDisplay": lambda m: np.array(
        [metrics.RocCurveDisplay.from_estimator(m.fit(X, Y), X, Y).roc_auc]
    ),
    "PrecisionRecallDisplay": lambda m: np.array(
        [metrics.PrecisionRecallDisplay.from_estimator(m.fit(X, Y), X, Y).average_precision]
    ),
    "DetCurveDisplay": lambda m: metrics.DetCurveDisplay.from_estimator(m.fit(X, Y), X, Y).fpr,
    "ConfusionMatrixDisplay": lambda m: (
        metrics.ConfusionMatrixDisplay.from_estimator(m.fit(X, Y), X, Y).confusion_matrix
    ),
    "SelfTrainingClassifier": labels_spread,
    "FrozenEstimator": lambda m: (
        calibration.CalibratedClassifierCV(
            frozen.FrozenEstimator(m.fit(X[::2], Y[::2])), method="sigmoid"
        )
        .fit(X[1::2], Y[1::2])
        .predict_proba(X)
    ),
    "ColumnTransformer": column,
    "FeatureUnion": union,
    "Pipeline": lambda m: fitted(pipeline.make_pipeline(StandardScaler(), m)),
}


@pytest.mark.filterwarnings("ignore::UserWarning:sklearn")
@pytest.mark.filterwarnings("ignore:(Rounding errors|The line search|Line Search)")  # theirs
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")  # one class in 11 rows
@pytest.mark.parametrize("name", TOOLS)
def test_the_tool_gives_what_it_gives_with_scikit_learns_estimator(name):
    tool = TOOLS[name]
    ours = np.asarray(tool(TorchLogisticRegression(**SETTINGS)), dtype=float)
    theirs = np.asarray(tool(LogisticRegression(solver="newton-cholesky", **SETTINGS)), dtype=float)
    assert ours.size
    if ours.dtype.kind in "biu":
        assert_array_equal(ours, theirs)
    assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    plt.close("all")


def test_there_are_forty_of_them():
    assert len(TOOLS) >= 40

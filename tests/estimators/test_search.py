"""The batched grid search, next to scikit-learn's."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, get_scorer, make_scorer
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from torchlogreg import BatchedGridSearchCV, TorchLogisticRegression

CLASSIFIER = TorchLogisticRegression(tol=1e-8)
PIPELINE = make_pipeline(StandardScaler(), CLASSIFIER)
NAME = "torchlogisticregression"
GRID = {f"{NAME}__C": [0.01, 0.1, 1.0], f"{NAME}__class_weight": [None, "balanced"]}


def wine():
    return load_wine(return_X_y=True)


def assert_same(ours, other):
    assert list(ours.cv_results_) == list(other.cv_results_)
    ours_frame, other_frame = pd.DataFrame(ours.cv_results_), pd.DataFrame(other.cv_results_)
    for column in ours_frame:
        if "score" in column and "time" not in column:
            assert_allclose(ours_frame[column], other_frame[column], atol=1e-6, err_msg=column)
    assert ours_frame["params"].tolist() == other_frame["params"].tolist()
    assert ours.best_params_ == other.best_params_
    assert ours.best_index_ == other.best_index_


@pytest.mark.parametrize("scoring", [None, "neg_log_loss", "f1_macro", make_scorer(accuracy_score)])
def test_results_are_those_of_a_grid_search(scoring):
    X, y = wine()
    params = {"scoring": scoring, "cv": 4, "return_train_score": True}
    ours = BatchedGridSearchCV(PIPELINE, GRID, **params).fit(X, y)
    other = GridSearchCV(PIPELINE, GRID, **params).fit(X, y)
    assert_same(ours, other)
    assert_allclose(ours.predict_proba(X), other.predict_proba(X), atol=1e-7)
    assert_array_equal(ours.predict(X), other.predict(X))
    assert ours.score(X, y) == pytest.approx(other.score(X, y), abs=1e-7)
    assert_array_equal(ours.classes_, other.classes_)
    assert ours.n_features_in_ == 13
    assert isinstance(ours.best_estimator_, Pipeline)


def test_the_transformers_are_fitted_once_a_fold():
    fits = []

    class Counting(StandardScaler):
        def fit(self, X, y=None, sample_weight=None):
            fits.append(len(X))
            return super().fit(X, y)

    X, y = wine()
    pipeline = make_pipeline(Counting(), CLASSIFIER)
    BatchedGridSearchCV(pipeline, GRID, cv=KFold(3, shuffle=True, random_state=0)).fit(X, y)
    assert len(fits) == 3 + 1


def test_other_parameters_make_batches_of_their_own():
    X, y = wine()
    pipeline = Pipeline([("scale", StandardScaler()), ("pca", PCA()), ("model", CLASSIFIER)])
    grid = [
        {"pca__n_components": [2, 5], "model__C": [0.1, 1.0]},
        {"scale": ["passthrough"], "model__C": [0.01], "model__l1_ratio": [0.0, 0.5]},
    ]
    ours = BatchedGridSearchCV(pipeline, grid, cv=3, scoring="neg_log_loss").fit(X, y)
    assert_same(ours, GridSearchCV(pipeline, grid, cv=3, scoring="neg_log_loss").fit(X, y))


def test_a_classifier_alone_and_other_containers():
    X, y = wine()
    X = StandardScaler().fit_transform(X)
    names = np.array(["a", "b", "c"])[y]
    other = GridSearchCV(CLASSIFIER, {"C": [0.1, 1.0]}, cv=3).fit(X, names)
    for features in (pd.DataFrame(X).add_prefix("x"), sparse.csr_matrix(X), torch.from_numpy(X)):
        ours = BatchedGridSearchCV(CLASSIFIER, {"C": [0.1, 1.0]}, cv=3).fit(features, names)
        assert_same(ours, other)
        assert_array_equal(ours.predict(features), other.predict(X))
    frame = pd.DataFrame(X).add_prefix("x")
    ours = BatchedGridSearchCV(CLASSIFIER, {"C": [0.1]}, cv=3).fit(frame, names)
    assert_array_equal(ours.feature_names_in_, frame.columns)


def test_several_scorers_and_one_for_the_refit():
    X, y = wine()
    params = {"scoring": ["accuracy", "neg_log_loss"], "refit": "neg_log_loss", "cv": 3}
    ours = BatchedGridSearchCV(PIPELINE, GRID, **params).fit(X, y)
    assert_same(ours, GridSearchCV(PIPELINE, GRID, **params).fit(X, y))
    assert ours.multimetric_


def test_functions_that_score_see_pipelines_and_rows():
    X, y = wine()
    seen = []

    def scorer(estimator, X, y):
        seen.append((type(estimator), X.shape[1]))
        return estimator.score(X, y)

    ours = BatchedGridSearchCV(PIPELINE, GRID, cv=3, scoring=scorer).fit(X, y)
    assert set(seen) == {(Pipeline, 13)}
    assert_same(ours, GridSearchCV(PIPELINE, GRID, cv=3, scoring=scorer).fit(X, y))
    assert ours.score(X, y) == ours.best_estimator_.score(X, y)


def test_weights_and_groups():
    X, y = wine()
    weight = np.random.default_rng(0).uniform(0.1, 2.0, len(y))
    fit_params = {f"{NAME}__sample_weight": weight, "groups": np.arange(len(y)) % 5}
    params = {"cv": GroupKFold(5), "scoring": "neg_log_loss"}
    ours = BatchedGridSearchCV(PIPELINE, GRID, **params).fit(X, y, **fit_params)
    assert_same(ours, GridSearchCV(PIPELINE, GRID, **params).fit(X, y, **fit_params))
    fit_params = {"standardscaler__sample_weight": weight}  # another step may have some, too
    ours = BatchedGridSearchCV(PIPELINE, GRID, cv=3).fit(X, y, **fit_params)
    assert_same(ours, GridSearchCV(PIPELINE, GRID, cv=3).fit(X, y, **fit_params))
    with pytest.raises(TypeError, match="no_such_parameter"):
        BatchedGridSearchCV(PIPELINE, GRID, error_score="raise").fit(
            X, y, torchlogisticregression__no_such_parameter=weight
        )


def test_folds_may_have_as_many_rows_as_there_are():
    X, y = wine()
    rng = np.random.default_rng(0)
    draws = [rng.integers(len(y), size=len(y)) for _ in range(3)]
    folds = [(rows, np.setdiff1d(np.arange(len(y)), rows)) for rows in draws]
    params = {"cv": folds, "scoring": "neg_log_loss"}
    ours = BatchedGridSearchCV(PIPELINE, GRID, **params).fit(X, y)
    assert_same(ours, GridSearchCV(PIPELINE, GRID, **params).fit(X, y))


def test_routed_weights():
    X, y = wine()
    weight = np.random.default_rng(0).uniform(0.1, 2.0, len(y))
    with config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        model = clone(CLASSIFIER).set_fit_request(sample_weight=True)
        pipeline = make_pipeline(scaler, model)
        scorer = get_scorer("neg_log_loss").set_score_request(sample_weight=True)
        params = {"cv": 3, "scoring": scorer}
        ours = BatchedGridSearchCV(pipeline, GRID, **params).fit(X, y, sample_weight=weight)
        other = GridSearchCV(pipeline, GRID, **params).fit(X, y, sample_weight=weight)
    assert_same(ours, other)


def test_without_a_refit_there_is_no_estimator():
    search = BatchedGridSearchCV(PIPELINE, GRID, cv=3, refit=False).fit(*wine())
    assert not hasattr(search, "best_estimator_")
    assert not hasattr(search, "predict")


def test_it_nests_and_clones():
    X, y = load_breast_cancer(return_X_y=True)
    search = BatchedGridSearchCV(PIPELINE, {f"{NAME}__C": [0.1, 1.0]}, cv=3)
    assert clone(search).get_params()["cv"] == 3
    scores = cross_val_score(search, X, y, cv=3)
    assert scores.min() > 0.95


@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(StandardScaler(), LogisticRegression()),
        make_pipeline(StandardScaler(), TorchLogisticRegression(solver="sgd")),
    ],
)
def test_other_estimators_are_refused(estimator):
    with pytest.raises(ValueError, match="does not end with a TorchLogisticRegression"):
        BatchedGridSearchCV(estimator, {}).fit(*wine())


@pytest.mark.parametrize(
    "grid", [{f"{NAME}__solver": ["lbfgs", "adam"]}, {NAME: [CLASSIFIER, LogisticRegression()]}]
)
def test_candidates_that_end_otherwise_are_refused(grid):
    with pytest.raises(ValueError, match=r"with \{.*does not end with a TorchLogisticRegression"):
        BatchedGridSearchCV(PIPELINE, grid).fit(*wine())


def accuracy_of(estimator, X, y):
    return estimator.score(X, y)


@pytest.mark.parametrize(
    "scoring", [None, accuracy_of, {"own": accuracy_of, "other": "accuracy"}, ["accuracy"]]
)
def test_a_fitted_search_holds_no_rows(scoring):
    """It has the scorers that it was given, so that it can be pickled."""
    X, y = wine()
    X = np.tile(X, (20, 1))
    search = BatchedGridSearchCV(PIPELINE, GRID, scoring=scoring, refit=False, cv=3)
    search.fit(X, np.tile(y, 20))
    assert len(pickle.dumps(search)) < X.nbytes / 4
    if isinstance(scoring, dict):
        assert search.scorer_["own"] is accuracy_of


def test_a_failing_transformer_gives_the_error_score():
    X, y = wine()
    pipeline = Pipeline([("pca", PCA()), ("model", CLASSIFIER)])
    grid = {"pca__n_components": [2, 500], "model__C": [0.1]}
    with pytest.warns((FitFailedWarning, UserWarning)) as caught:  # some scores are nan
        search = BatchedGridSearchCV(pipeline, grid, cv=3).fit(X, y)
    assert any("fits failed" in str(warning.message) for warning in caught)
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [False, True]
    assert search.best_params_["pca__n_components"] == 2


@pytest.mark.parametrize(
    "values",
    [
        {f"{NAME}__C": [-1.0, 0.1, "a"]},
        {f"{NAME}__l1_ratio": [0.0, 2.0]},
        {f"{NAME}__class_weight": [None, {"no such class": 2.0}]},
    ],
)
def test_only_candidates_that_are_unfit_fail(values):
    search = BatchedGridSearchCV(PIPELINE, values, cv=3, error_score=-1.0)
    with pytest.warns(FitFailedWarning):
        search.fit(*wine())
    with pytest.warns(FitFailedWarning):
        other = GridSearchCV(PIPELINE, values, cv=3, error_score=-1.0).fit(*wine())
    assert_allclose(search.cv_results_["mean_test_score"], other.cv_results_["mean_test_score"])


def test_no_iteration_is_scored_as_the_model_at_zero():
    X, y = load_wine(return_X_y=True)
    search = BatchedGridSearchCV(
        TorchLogisticRegression(max_iter=0), {"C": [0.1, 1]}, scoring="neg_log_loss", cv=3
    )
    with pytest.warns(ConvergenceWarning):
        search.fit(X, y)
    assert_allclose(search.cv_results_["mean_test_score"], -np.log(3))

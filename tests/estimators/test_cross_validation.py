"""Cross-validation: every model of the grid, its score, and the choice."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import accuracy_score, get_scorer, make_scorer
from sklearn.model_selection import GroupKFold, KFold, ShuffleSplit, StratifiedKFold
from sklearn.preprocessing import scale

from tests.at_hand import needs_young
from tests.judge import judge
from torchlogreg import TorchLogisticRegression, TorchLogisticRegressionCV
from torchlogreg.estimators.metrics import METRICS, OF_MORE, OF_TWO_CLASSES
from torchlogreg.estimators.scoring import scorer_of
from torchlogreg.estimators.selection import choose


def iris():
    return load_iris(return_X_y=True)


def wine():
    X, y = load_wine(return_X_y=True)
    return scale(X), y


def breast_cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X), y


def digits():
    X, y = load_digits(return_X_y=True)
    return X[:600] / 16, y[:600]


def counts():
    rng = np.random.default_rng(0)
    X = sparse.random(300, 80, density=0.1, random_state=0, format="csr")
    return X, np.argmax(X @ rng.normal(size=(80, 4)) + 0.1 * rng.normal(size=(300, 4)), axis=1)


DATA = [iris, wine, breast_cancer, digits, counts]


def theirs(**params):
    defaults = {
        "scoring": "neg_log_loss",
        "l1_ratios": (0.0,),
        "use_legacy_attributes": False,
        "max_iter": 10_000,
        "tol": 1e-9,
        "solver": "newton-cg",
    }
    return LogisticRegressionCV(**{**defaults, **params})


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
@pytest.mark.parametrize("load", DATA)
def test_every_model_is_that_of_a_separate_fit(load, l1_ratio):
    X, y = load()
    folds = list(StratifiedKFold(3).split(X, y))
    weight = np.random.default_rng(1).uniform(0.5, 2.0, len(y))
    Cs = [1e-3, 1.0, 10.0] if l1_ratio == 0 else [0.05, 1.0]
    model = TorchLogisticRegressionCV(Cs=Cs, l1_ratios=[l1_ratio], cv=folds, tol=1e-9)
    model.fit(X, y, sample_weight=weight)
    assert (model.optimality_ <= 1e-9).all()
    scorer = scorer_of("neg_log_loss", model.classes_)
    for f, (train, test) in enumerate(folds):
        for c, C in enumerate(Cs):
            single = TorchLogisticRegression(C, l1_ratio=l1_ratio, tol=1e-9)
            single.fit(X[train], y[train], weight[train])
            exact = judge(single, X[train], y[train], weight[train])
            score = scorer(single, X[test], y[test], sample_weight=weight[test])
            cell = model.coefs_paths_[f, 0, c]
            single.coef_, single.intercept_ = cell[:, :-1], cell[:, -1]
            found = judge(single, X[train], y[train], weight[train])
            assert found.objective == pytest.approx(exact.objective, rel=1e-9)
            assert found.optimality <= 1e-9 + found.rounding
            assert model.scores_[f, 0, c] == pytest.approx(score, abs=1e-6)
    whole = TorchLogisticRegression(model.C_, l1_ratio=l1_ratio, tol=1e-8).fit(X, y, weight)
    assert_allclose(model.coef_, whole.coef_, atol=1e-4)
    assert_allclose(model.intercept_, whole.intercept_, atol=1e-4)


@pytest.mark.parametrize("load", DATA)
def test_cells_at_the_default_tolerance_are_as_low_as_separate_fits(load):
    X, y = load()
    folds = list(StratifiedKFold(3).split(X, y))
    model = TorchLogisticRegressionCV(Cs=6, cv=folds).fit(X, y)
    assert (model.optimality_ <= 1e-4).all()
    for f, (train, _) in enumerate(folds):
        for c, C in enumerate(model.Cs_):
            single = TorchLogisticRegression(C, tol=1e-9).fit(X[train], y[train])
            least = judge(single, X[train], y[train]).objective
            cell = model.coefs_paths_[f, 0, c]
            single.coef_, single.intercept_ = cell[:, :-1], cell[:, -1]
            excess = judge(single, X[train], y[train]).objective - least
            assert excess <= 5e-6 * max(least, 0.01)  # 1e-6 by the model of the last pairs


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("scoring", ["neg_log_loss", "accuracy", "roc_auc_ovr", None])
@pytest.mark.parametrize("load", [iris, wine, breast_cancer, digits])
def test_the_choice_is_that_of_scikit_learn(load, scoring, seed):
    X, y = load()
    if scoring == "roc_auc_ovr" and load is breast_cancer:
        scoring = "roc_auc"
    folds = list(StratifiedKFold(3, shuffle=True, random_state=seed).split(X, y))
    Cs = np.logspace(-3, 1, 5)
    ours = TorchLogisticRegressionCV(Cs=Cs, cv=folds, scoring=scoring, tol=1e-8).fit(X, y)
    other = theirs(Cs=Cs, cv=folds, scoring=scoring).fit(X, y)
    assert_allclose(ours.scores_, other.scores_, atol=1e-6)
    assert ours.C_ == other.C_
    assert ours.scores_.shape == other.scores_.shape
    assert ours.n_iter_.shape == other.n_iter_.shape
    assert ours.coefs_paths_.shape == other.coefs_paths_.shape
    assert_allclose(ours.coefs_paths_, other.coefs_paths_, atol=1e-4)
    assert_allclose(ours.coef_, other.coef_, atol=1e-4)
    assert ours.score(X, y) == pytest.approx(other.score(X, y), abs=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("scoring", "n_classes"),
    [
        *((name, 2) for name in METRICS | OF_TWO_CLASSES),
        *((name, 4) for name in METRICS | OF_MORE),
    ],
)
def test_scores_on_the_device_are_those_of_scikit_learn(scoring, n_classes, weighted):
    rng = np.random.default_rng(0)
    X = rng.integers(-2, 3, (200, 3)).astype(float)  # with ties
    y = np.array(["a", "b", "c", "d"])[(X @ rng.normal(size=(3, n_classes))).argmax(1)]
    y[::5] = rng.permutation(y[::5])
    weight = rng.uniform(0, 2, 200) * (rng.random(200) < 0.8) if weighted else None
    folds = list(ShuffleSplit(2, random_state=0).split(X))
    model = TorchLogisticRegressionCV(Cs=[1e-3, 1.0], cv=folds, scoring=scoring)
    model.fit(X, y, sample_weight=weight)
    scorer = scorer_of(scoring, model.classes_)
    single = TorchLogisticRegression().fit(X, y)
    for f, (_, test) in enumerate(folds):
        for c in range(2):
            cell = model.coefs_paths_[f, 0, c]
            single.coef_, single.intercept_ = cell[:, :-1], cell[:, -1]
            own = {} if weight is None else {"sample_weight": weight[test]}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # classes that the rows do not have
                expected = scorer(single, X[test], y[test], **own)
            assert model.scores_[f, 0, c] == pytest.approx(expected, abs=1e-12)


def test_other_scorers_go_through_scikit_learn():
    X, y = iris()
    seen = []

    def scorer(estimator, X, y):
        seen.append(type(estimator))
        return accuracy_score(y, estimator.predict(X))

    ours = TorchLogisticRegressionCV(Cs=3, cv=3, scoring=scorer).fit(X, y)
    assert seen == [TorchLogisticRegression] * 9
    named = TorchLogisticRegressionCV(Cs=3, cv=3, scoring="accuracy").fit(X, y)
    assert_allclose(ours.scores_, named.scores_)
    made = make_scorer(accuracy_score, normalize=False)
    sums = TorchLogisticRegressionCV(Cs=3, cv=3, scoring=made).fit(X, y)
    assert_allclose(sums.scores_, 50 * named.scores_)
    assert named.score(X, y) == get_scorer("accuracy")(named, X, y)


def test_a_scorer_that_fails_says_so():
    def fails(estimator, X, y):
        raise RuntimeError("no score today")

    with pytest.raises(RuntimeError, match="no score today"):
        TorchLogisticRegressionCV(Cs=2, cv=3, scoring=fails).fit(*iris())


@needs_young("cannot average without a refit")
def test_without_a_refit_the_models_of_the_folds_are_averaged():
    X, y = iris()
    ours = TorchLogisticRegressionCV(Cs=4, cv=3, refit=False, tol=1e-8).fit(X, y)
    other = theirs(Cs=4, cv=3, refit=False).fit(X, y)
    assert pytest.approx(other.C_) == ours.C_
    assert_allclose(ours.coef_, other.coef_, atol=1e-3)
    assert_array_equal(ours.predict(X), other.predict(X))
    assert not hasattr(ours, "best_index_")


@needs_young("scores otherwise without rows of a class")
def test_folds_without_one_of_the_classes():
    X, y = iris()
    folds = [(np.r_[0:25, 50:75, 100:110], np.r_[25:50, 75:100]), (np.r_[0:90], np.r_[90:150])]
    for scoring in ("accuracy", "f1_macro", "neg_log_loss"):
        Cs = [0.01, 1.0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ours = TorchLogisticRegressionCV(Cs=Cs, cv=folds, scoring=scoring).fit(X, y)
            other = theirs(Cs=Cs, cv=folds, scoring=scoring, tol=1e-6).fit(X, y)
        assert ours.coefs_paths_.shape == other.coefs_paths_.shape
        # What is known of a class without rows follows from the tolerance alone.
        places = [0] if scoring == "neg_log_loss" else [0, 1]
        assert_allclose(ours.scores_[places], other.scores_[places], atol=1e-3)
    assert np.isfinite(ours.scores_).all()


def test_labels_of_any_kind_and_weights_by_label():
    X, y = iris()
    names = np.array(["setosa", "versicolor", "virginica"], dtype=object)[y]
    weights = {"setosa": 1.0, "versicolor": 3.0, "virginica": 0.5}
    ours = TorchLogisticRegressionCV(Cs=3, cv=3, class_weight=weights, tol=1e-8).fit(X, names)
    other = theirs(Cs=3, cv=3, class_weight=weights).fit(X, names)
    assert_allclose(ours.coefs_paths_, other.coefs_paths_, atol=1e-3)
    assert_array_equal(ours.predict(X), other.predict(X))


def test_balanced_weights_follow_the_rows_of_a_fold():
    X, y = breast_cancer()
    folds = list(KFold(3).split(X))
    model = TorchLogisticRegressionCV(Cs=[0.1], cv=folds, class_weight="balanced", tol=1e-9)
    model.fit(X, y)
    for f, (train, _) in enumerate(folds):
        single = TorchLogisticRegression(0.1, class_weight="balanced", tol=1e-9)
        single.fit(X[train], y[train])
        assert_allclose(model.coefs_paths_[f, 0, 0, :, :-1], single.coef_, atol=1e-6)


def test_rows_that_a_fold_repeats_count_twice():
    X, y = iris()
    train = np.r_[0:150, 0:30]
    model = TorchLogisticRegressionCV(Cs=[1.0], cv=[(train, np.arange(150))], tol=1e-9).fit(X, y)
    single = TorchLogisticRegression(1.0, tol=1e-9).fit(X[train], y[train])
    assert_allclose(model.coefs_paths_[0, 0, 0, :, :-1], single.coef_, atol=1e-6)


def test_a_number_may_stand_for_the_weights():
    X, y = iris()
    plain = TorchLogisticRegressionCV(Cs=3, cv=3).fit(X, y)
    weighted = TorchLogisticRegressionCV(Cs=3, cv=3).fit(X, y, sample_weight=1.0)
    assert_allclose(weighted.scores_, plain.scores_)


def test_sparse_features_and_tensors():
    X, y = counts()
    plain = TorchLogisticRegressionCV(Cs=3, cv=3, tol=1e-8).fit(X, y)
    dense = TorchLogisticRegressionCV(Cs=3, cv=3, tol=1e-8).fit(X.toarray(), y)
    assert_allclose(plain.scores_, dense.scores_, atol=1e-6)
    tensor = TorchLogisticRegressionCV(Cs=3, cv=3, tol=1e-8, scoring="f1_macro")
    tensor.fit(torch.from_numpy(X.toarray()), torch.from_numpy(y))
    assert isinstance(tensor.coef_, torch.Tensor)
    assert isinstance(tensor.coefs_paths_, torch.Tensor)
    assert isinstance(tensor.scores_, np.ndarray)
    other = TorchLogisticRegressionCV(Cs=3, cv=3, tol=1e-8, scoring="roc_auc_ovr")
    csr = torch.from_numpy(X.toarray()).to_sparse_csr()
    assert other.fit(csr, y).C_ == other.fit(X, y).C_


def test_several_ratios():
    X, y = breast_cancer()
    Cs, ratios = [0.01, 0.1, 1.0], [0.0, 0.5, 1.0]
    model = TorchLogisticRegressionCV(Cs=Cs, l1_ratios=ratios, cv=3).fit(X, y)
    assert model.scores_.shape == model.n_iter_.shape == model.optimality_.shape == (3, 3, 3)
    assert model.coefs_paths_.shape == (3, 3, 3, 1, 31)
    assert model.C_ in Cs
    assert model.l1_ratio_ in ratios
    single = TorchLogisticRegression(model.C_, l1_ratio=model.l1_ratio_).fit(X, y)
    assert_allclose(model.coef_, single.coef_, atol=1e-2)


def test_results_load_into_a_frame():
    X, y = iris()
    model = TorchLogisticRegressionCV(Cs=4, l1_ratios=[0.0, 1.0], cv=3).fit(X, y)
    frame = pd.DataFrame(model.cv_results_)
    assert len(frame) == 8
    best = frame.loc[model.best_index_]
    assert best["rank_test_score"] == 1
    assert best["param_C"] == model.C_ == best["params"]["C"]
    assert best["param_l1_ratio"] == model.l1_ratio_
    folds = frame[[f"split{f}_test_score" for f in range(3)]]
    assert_allclose(folds.mean(axis=1), frame["mean_test_score"])
    assert_allclose(folds.to_numpy().T.reshape(3, 2, 4), model.scores_)


def test_the_one_standard_error_rule():
    X, y = digits()
    best = TorchLogisticRegressionCV(Cs=np.logspace(-2, 2, 13), cv=5).fit(X, y)
    rule = clone(best).set_params(selection="one_standard_error").fit(X, y)
    mean = best.scores_.mean(axis=0)[0]
    top = mean.argmax()
    error = best.scores_[:, 0, top].std(ddof=1) / np.sqrt(5)
    assert best.Cs_[np.flatnonzero(mean >= mean[top] - error)[0]] == rule.C_
    assert rule.C_ < best.C_


def test_the_order_of_the_penalties_is_the_users():
    X, y = iris()
    rising = TorchLogisticRegressionCV(Cs=[0.01, 1.0, 100.0], cv=3, tol=1e-8).fit(X, y)
    mixed = TorchLogisticRegressionCV(Cs=[1.0, 100.0, 0.01], cv=3, tol=1e-8).fit(X, y)
    assert_array_equal(mixed.Cs_, [1.0, 100.0, 0.01])
    assert_allclose(mixed.scores_, rising.scores_[..., [1, 2, 0]], atol=1e-9)


@pytest.mark.parametrize("load", [digits, counts])
def test_little_memory_changes_nothing(load):
    X, y = load()
    Cs = [1e-3, 0.1, 10.0]
    plenty = TorchLogisticRegressionCV(Cs=Cs, cv=3, tol=1e-9).fit(X, y)
    little = TorchLogisticRegressionCV(Cs=Cs, cv=3, tol=1e-9, working_memory=0.5).fit(X, y)
    assert_allclose(little.scores_, plenty.scores_, atol=1e-7)
    assert_allclose(little.coef_, plenty.coef_, atol=1e-4)


def test_no_penalty_is_a_penalty():
    X, y = iris()
    noisy = np.where(np.arange(150) % 7 == 0, 2 - y, y)  # otherwise it is separable
    model = TorchLogisticRegressionCV(Cs=[1.0, np.inf], cv=3).fit(X, noisy)
    assert np.isfinite(model.scores_).all()


def test_groups_are_routed_to_the_splitter_and_weights_to_the_scorer():
    X, y = iris()
    groups = np.arange(150) % 4
    weight = np.random.default_rng(0).uniform(size=150)
    with config_context(enable_metadata_routing=True):
        scorer = get_scorer("accuracy").set_score_request(sample_weight=True)
        splitter = GroupKFold(4).set_split_request(groups=True)
        params = {"Cs": 3, "cv": splitter, "scoring": scorer}
        ours = TorchLogisticRegressionCV(**params).set_fit_request(sample_weight=True)
        ours.fit(X, y, sample_weight=weight, groups=groups)
        other = theirs(**params, tol=1e-6).set_fit_request(sample_weight=True)
        other.fit(X, y, sample_weight=weight, groups=groups)
    assert_allclose(ours.scores_, other.scores_, atol=1e-9)
    assert ours.scores_.shape == (4, 1, 3)
    with pytest.raises(ValueError, match="groups"):
        TorchLogisticRegressionCV(cv=GroupKFold(4)).fit(X, y, groups=groups)


def test_the_fit_is_thrifty():
    """A warm start along the penalties, all folds at once: far fewer iterations than one by one."""
    X, y = digits()
    model = TorchLogisticRegressionCV(Cs=8, cv=3).fit(X, y)
    cold = [TorchLogisticRegression(C).fit(X, y).n_iter_[0] for C in model.Cs_]
    assert model.n_iter_.sum() < 0.9 * 3 * sum(cold)


def test_a_bar_shows_the_progress(capfd):
    TorchLogisticRegressionCV(Cs=2, cv=3, verbose=1).fit(*iris())
    assert "8/8" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"Cs": []}, "Cs=.*one or more"),
        ({"Cs": [1.0, -1.0]}, "Cs=.*positive"),
        ({"Cs": ["strong"]}, "Cs=.*numbers"),
        ({"l1_ratios": []}, "l1_ratios=.*one or more"),
        ({"l1_ratios": [1.5]}, "l1_ratios=.*between 0 and 1"),
        ({"scoring": "beauty"}, "scoring"),
        ({"cv": [([], [0, 1])]}, "fold 0 has no row to fit"),
        ({"cv": [(range(150), [])]}, "fold 0 has no row to score"),
        ({"cv": [(range(150), np.zeros(150, bool))]}, "fold 0 has no row to score"),
        ({"cv": [(range(150), np.ones(9, bool))]}, "fold 0 must be two lists of rows"),
        ({"cv": [(range(150), [150])]}, "fold 0 must be two lists of rows"),
        ({"cv": []}, "no folds"),
        ({"l1_ratios": [1.0], "solver": "lbfgs"}, "solver='lbfgs' takes l1_ratio=0 only"),
        ({"selection": "worst"}, "selection"),
        ({"working_memory": 0}, "working_memory"),
    ],
)
def test_what_cannot_be_is_refused(params, message):
    with pytest.raises(ValueError, match=message):
        TorchLogisticRegressionCV(**params).fit(*iris())


def test_folds_whose_rows_have_no_weight_are_refused():
    X, y = iris()
    weight = np.r_[np.zeros(100), np.ones(50)]
    weight[0] = 1.0
    with pytest.raises(ValueError, match="fold 0 fits have no weight"):
        TorchLogisticRegressionCV(cv=[(np.arange(1, 100), np.arange(150))]).fit(X, y, weight)


def test_predictions_before_the_fit_are_refused():
    with pytest.raises(NotFittedError):
        TorchLogisticRegressionCV().predict(np.zeros((1, 4)))


def test_models_that_have_not_converged_are_named():
    X, y = digits()
    with pytest.warns(ConvergenceWarning, match=r"of 8 models, the first of them C=.*fold 0"):
        TorchLogisticRegressionCV(Cs=2, cv=3, max_iter=2).fit(X, y)


def test_penalties_without_a_score_are_not_chosen():
    scores = np.array([[[0.1, np.nan, 0.3]], [[0.2, 0.9, 0.1]]])
    Cs, ratios = np.array([1.0, 2.0, 3.0]), np.array([0.0])
    with pytest.warns(UserWarning, match="1 of 3 penalties"):
        chosen = choose(scores, Cs, ratios, "best", each_fold=False)
    assert chosen.C == 3.0
    with pytest.raises(ValueError, match="No penalty has a score in every fold"):
        choose(np.full((2, 1, 3), np.nan), Cs, ratios, "best", each_fold=False)


@pytest.mark.parametrize("selection", ["best", "one_standard_error"])
def test_scores_without_end_are_scores(selection):
    """As in scikit-learn, of equal ones the first counts."""
    model = TorchLogisticRegressionCV(
        Cs=[1.0, 0.1], cv=3, scoring=lambda model, X, y: np.inf, selection=selection
    )
    assert (1.0 if selection == "best" else 0.1) == model.fit(*iris()).C_


@needs_young("copies the splitter")
def test_asking_for_the_routing_takes_no_folds():
    X, y = iris()
    model = TorchLogisticRegressionCV(Cs=[1.0], cv=KFold(3, shuffle=True).split(X))
    model.get_metadata_routing()
    assert model.fit(X, y).scores_.shape == (3, 1, 1)


def test_a_refit_that_fails_leaves_everything_as_it_was():
    X, y = load_iris(return_X_y=True)
    model = TorchLogisticRegressionCV(Cs=3, cv=3).fit(X, y)
    with pytest.raises(ValueError, match=r"[Nn]egative"):
        model.fit(X[:, :2], y, sample_weight=-np.ones(len(y)))
    assert model.score(X, y) < 0

"""What users of the estimator may rely on."""

import copy
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris, make_classification
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, EarlyStopping, EpochScoring, EpochTimer

from torchlogreg import BinaryLogistic, MultinomialLogistic, TorchLogisticRegression
from torchlogreg.data.training_sets import ArrayRows
from torchlogreg.data.validation import feature_blocks
from torchlogreg.problem.families import family_of

X_IRIS, Y_IRIS = load_iris(return_X_y=True)
over_solvers = pytest.mark.parametrize("solver", ["newton-cholesky", "newton-cg", "lbfgs"])


@pytest.fixture
def binary():
    return make_classification(200, 5, random_state=0)


@pytest.mark.parametrize(
    "labels",
    [
        ["setosa", "versicolor", "virginica"],
        [-5, -1, 3],
        [0.0, 1.0, 2.0],
        np.array(["a", "b", "c"], dtype=object),
    ],
    ids=["strings", "negative integers", "floats", "objects"],
)
def test_any_sortable_labels_come_back_as_they_were(labels):
    labels = np.asarray(labels)
    y = labels[Y_IRIS]
    model = TorchLogisticRegression().fit(X_IRIS, y)
    assert_array_equal(model.classes_, labels)
    assert model.predict(X_IRIS).dtype == y.dtype
    assert model.score(X_IRIS, y) > 0.95


def test_two_classes_give_one_row(binary):
    X, y = binary
    model = TorchLogisticRegression().fit(X, y == 1)
    assert model.coef_.shape == (1, 5)
    assert model.intercept_.shape == (1,)
    assert_array_equal(model.classes_, [False, True])
    assert model.predict(X).dtype == bool
    assert model.decision_function(X).shape == (200,)
    assert_array_equal(model.predict(X), model.decision_function(X) > 0)


@pytest.mark.parametrize(
    ("given", "fitted"),
    [("float32", "float32"), ("float64", "float64"), ("float16", "float64"), ("int64", "float64")],
)
def test_dtype_of_the_model_follows_the_features(given, fitted):
    model = TorchLogisticRegression().fit(X_IRIS.astype(given), Y_IRIS)
    assert model.coef_.dtype == model.intercept_.dtype == fitted
    assert model.predict_proba(X_IRIS.astype(given)).dtype == fitted
    assert model.score(X_IRIS.astype(given), Y_IRIS) > 0.9


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("solver", ["lbfgs", "newton-cholesky", "newton-cg"])
@pytest.mark.parametrize("is_small", [True, False])
def test_low_precision_tensors_are_data_like_any_other(dtype, solver, is_small):
    n_times = 1 if is_small else 150  # small matrices are copied
    X = torch.from_numpy(X_IRIS).to(dtype).repeat(n_times, 1)
    y = np.tile(Y_IRIS, n_times)
    weight = np.full(len(y), 1 / n_times)
    model = TorchLogisticRegression(solver=solver, tol=1e-5).fit(X, y, weight)
    double = TorchLogisticRegression(solver=solver, tol=1e-5).fit(X.double(), y, weight)
    assert model.coef_.dtype == model.predict_proba(X).dtype == torch.float32
    assert_allclose(model.coef_, double.coef_, rtol=1e-3, atol=1e-3)
    assert_allclose(model.predict_proba(X), double.predict_proba(X.double()), atol=1e-3)
    sparse_model = TorchLogisticRegression(solver=solver, tol=1e-5).fit(
        X.to_sparse_csr(), y, weight
    )
    assert_allclose(sparse_model.coef_, double.coef_, rtol=1e-3, atol=1e-3)


def test_large_bfloat16_data_is_not_copied():
    X = torch.randn(2_000, 50).to(torch.bfloat16)
    codes = torch.arange(2_000) % 3
    (block,) = ArrayRows(X, codes, torch.ones(2_000), family_of(3), small_entries=99_999).rows
    assert block.X.data_ptr() == X.data_ptr()
    coef = torch.randn(1, 3, 51)
    expected = X.double() @ coef[0, :, :50].double().T + coef[0, :, 50].double()
    assert_allclose(block.predictor(coef)[0].T, expected, atol=1e-4)


def test_float32_finds_the_float64_optimum():
    single = TorchLogisticRegression(tol=1e-5).fit(X_IRIS.astype(np.float32), Y_IRIS)
    double = TorchLogisticRegression(tol=1e-5).fit(X_IRIS, Y_IRIS)
    assert_allclose(single.coef_, double.coef_, rtol=1e-3, atol=1e-3)


@over_solvers
def test_optimality_is_the_gradient_norm_at_the_solution(solver, binary):
    X, y = binary
    model = TorchLogisticRegression(C=0.1, solver=solver).fit(X, y)
    residual = model.predict_proba(X)[:, 1] - y
    gradient = np.append(X.T @ residual / 200 + model.coef_ / (0.1 * 200), residual.mean())
    assert_allclose(model.optimality_, np.abs(gradient).max(), rtol=1e-6)
    assert model.optimality_ <= model.tol


def test_log_probabilities_are_finite_for_finite_logits():
    X = np.array([[-1.0], [1.0]])
    for y in ([0, 1], [0, 1, 2]):
        X = np.linspace(-1, 1, len(y))[:, None]
        model = TorchLogisticRegression(C=1e3).fit(X, y)
        far = np.array([[1e5], [-1e5]])
        log_proba = model.predict_log_proba(far)
        assert np.isfinite(log_proba).all()
        assert log_proba.min() < -1000
        assert_allclose(np.exp(log_proba), model.predict_proba(far))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_predictions_agree_with_each_other(n_classes):
    X, y = make_classification(300, 6, n_informative=4, n_classes=n_classes, random_state=0)
    model = TorchLogisticRegression().fit(X, y)
    proba = model.predict_proba(X)
    assert_allclose(proba.sum(axis=1), 1)
    assert_array_equal(model.predict(X), model.classes_[proba.argmax(axis=1)])
    assert_allclose(model.predict_log_proba(X), np.log(proba))


def test_predictions_follow_the_coefficients():
    model = TorchLogisticRegression().fit(X_IRIS, Y_IRIS)
    model.coef_ = np.zeros_like(model.coef_)
    model.intercept_ = np.log([0.2, 0.3, 0.5])
    assert_allclose(model.predict_proba(X_IRIS), np.tile([0.2, 0.3, 0.5], (150, 1)))


@pytest.mark.parametrize(
    ("n_classes", "module_class"), [(2, BinaryLogistic), (3, MultinomialLogistic)]
)
def test_module_computes_the_logits(n_classes, module_class):
    rows = n_classes > Y_IRIS
    model = TorchLogisticRegression().fit(X_IRIS[rows], Y_IRIS[rows])
    assert type(model.module_) is module_class
    logits = model.module_(torch.from_numpy(X_IRIS)).detach().numpy()
    assert_allclose(logits.squeeze(), model.decision_function(X_IRIS))


def test_without_intercept(binary):
    X, y = binary
    model = TorchLogisticRegression(fit_intercept=False).fit(X, y)
    assert_array_equal(model.intercept_, [0.0])
    assert model.module_.bias is None
    logits = model.module_(torch.from_numpy(X)).detach().numpy()
    assert_allclose(logits[:, 0], model.decision_function(X))


@over_solvers
def test_sparse_is_dense(solver, binary):
    X, y = binary
    X = np.where(np.abs(X) > 1, X, 0)
    dense = TorchLogisticRegression(solver=solver, tol=1e-8).fit(X, y)
    for container in (sparse.csr_matrix, sparse.csc_array, sparse.coo_array):
        model = TorchLogisticRegression(solver=solver, tol=1e-8).fit(container(X), y)
        assert_allclose(model.coef_, dense.coef_, rtol=1e-6, atol=1e-8)
        assert_allclose(model.predict_proba(container(X)), dense.predict_proba(X), atol=1e-8)


@over_solvers
@pytest.mark.parametrize("sparse_layout", [False, True])
def test_tensors_in_tensors_out(solver, sparse_layout, binary):
    X, y = binary
    expected = TorchLogisticRegression(solver=solver).fit(X, y)
    X_tensor = torch.from_numpy(X)
    if sparse_layout:
        X_tensor = X_tensor.to_sparse_csr()
    model = TorchLogisticRegression(solver=solver).fit(X_tensor, torch.from_numpy(y))
    for name in ("decision_function", "predict", "predict_proba", "predict_log_proba"):
        output = getattr(model, name)(X_tensor)
        assert isinstance(output, torch.Tensor)
        assert_allclose(output.numpy(), getattr(expected, name)(X), atol=1e-8)
        assert isinstance(getattr(model, name)(X), np.ndarray)
    assert isinstance(model.coef_, torch.Tensor)
    assert isinstance(model.intercept_, torch.Tensor)
    assert model.score(X_tensor, torch.from_numpy(y)) == expected.score(X, y)


def test_string_labels_of_tensor_features_come_as_numpy():
    labels = np.array(["setosa", "versicolor", "virginica"])[Y_IRIS]
    model = TorchLogisticRegression().fit(torch.from_numpy(X_IRIS), labels)
    assert isinstance(model.predict(torch.from_numpy(X_IRIS)), np.ndarray)
    assert model.score(torch.from_numpy(X_IRIS), labels) > 0.95


def test_data_frames_of_pandas_and_polars():
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    names = ["a", "b", "c", "d"]
    expected = TorchLogisticRegression().fit(X_IRIS, Y_IRIS)
    for frame in (pd.DataFrame(X_IRIS, columns=names), pl.DataFrame(X_IRIS, schema=names)):
        model = TorchLogisticRegression().fit(frame, Y_IRIS)
        theirs = LogisticRegression(max_iter=1000).fit(frame, Y_IRIS)  # 1.8 knows none in polars
        assert_array_equal(
            getattr(model, "feature_names_in_", None), getattr(theirs, "feature_names_in_", None)
        )
        assert_allclose(model.coef_, expected.coef_, rtol=1e-10)
        assert_array_equal(model.predict(frame), expected.predict(X_IRIS))
    model = TorchLogisticRegression().fit(pd.DataFrame(X_IRIS, columns=names), Y_IRIS)
    assert list(model.feature_names_in_) == names


@over_solvers
def test_warm_start_needs_fewer_iterations(solver):
    model = TorchLogisticRegression(solver=solver, warm_start=True, tol=1e-6).fit(X_IRIS, Y_IRIS)
    cold = model.n_iter_[0]
    coef = model.coef_
    model.fit(X_IRIS, Y_IRIS)
    assert model.n_iter_[0] == 1
    assert_allclose(model.coef_, coef, atol=1e-12)
    warm = model.set_params(C=1.1).fit(X_IRIS, Y_IRIS)
    assert warm.n_iter_[0] < cold
    fresh = TorchLogisticRegression(C=1.1, solver=solver, tol=1e-6).fit(X_IRIS, Y_IRIS)
    assert_allclose(warm.coef_, fresh.coef_, rtol=1e-3, atol=1e-3)


def test_warm_start_is_kept_on_large_data():
    """The second fit finds itself at the solution."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60_000, 20))
    y = (X @ rng.normal(size=20) + rng.logistic(size=60_000)) > 0
    model = TorchLogisticRegression(solver="lbfgs", warm_start=True, tol=1e-6).fit(X, y)
    coef = model.coef_
    model.fit(X, y)
    assert model.n_iter_[0] == 1
    assert_allclose(model.coef_, coef, atol=1e-6)


@over_solvers
def test_rounding_does_not_add_up_along_the_gauge(solver):
    """In float32, over many iterations: nothing but the small penalty would resist it."""
    X, y = make_classification(
        2_000, 30, n_informative=20, n_classes=4, random_state=0, shuffle=False
    )
    X = np.hstack([X, X[:, :5] + 1e-3 * X[:, 5:10]]).astype(np.float32)
    model = TorchLogisticRegression(1e3, solver=solver, tol=1e-6)
    with warnings.catch_warnings():  # float32 does not reach that
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    assert np.abs(model.coef_.mean(axis=0)).max() < 1e-5 * np.abs(model.coef_).max()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("solver", ["newton-cholesky", "newton-cg", "lbfgs"])
def test_columns_of_any_scale(solver, dtype):
    """A time stamp next to indicators, as data bases have them."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2, size=(500, 4)).astype(dtype)
    y = (X @ [2, -1, 1, 0] + rng.logistic(size=500)) > 0.5
    expected = TorchLogisticRegression(100.0, tol=1e-6).fit(X, y).coef_
    stamp = 1e7 * rng.normal(size=(500, 1)).astype(dtype)
    model = TorchLogisticRegression(100.0, solver=solver, tol=1e-2)
    with warnings.catch_warnings():  # the gradient of that column is of its own size
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = model.fit(np.hstack([X, stamp]), y).coef_
    assert_allclose(found[:, :4], expected, atol=0.1)


def test_warm_start_takes_coefficients_that_are_not_centred():
    model = TorchLogisticRegression(warm_start=True, tol=1e-10).fit(X_IRIS, Y_IRIS)
    coef, intercept = model.coef_, model.intercept_
    model.coef_, model.intercept_ = coef + 3.0, intercept - 2.0
    model.fit(X_IRIS, Y_IRIS)
    assert_allclose(model.coef_, coef, atol=1e-7)
    assert_allclose(model.intercept_, intercept, atol=1e-6)


@pytest.mark.parametrize("change", ["classes", "features", "labels"])
def test_warm_start_refuses_another_problem(change):
    model = TorchLogisticRegression(warm_start=True).fit(X_IRIS, Y_IRIS)
    X = X_IRIS[:, :2] if change == "features" else X_IRIS
    y = {"classes": Y_IRIS % 2, "labels": Y_IRIS + 1}.get(change, Y_IRIS)
    with pytest.raises(ValueError, match="warm_start=True needs the classes and features"):
        model.fit(X, y)


@over_solvers
def test_cut_short_says_so_and_what_to_do(solver):
    model = TorchLogisticRegression(solver=solver, max_iter=2)
    with pytest.warns(
        ConvergenceWarning,
        match=rf"^{solver} failed to converge after 2 iterations: .* norm is .*\(max_iter=2\)",
    ) as caught:
        model.fit(X_IRIS, Y_IRIS)
    assert caught[0].filename == __file__
    assert model.n_iter_ == [2]


def test_precision_that_does_not_suffice_is_reported():
    model = TorchLogisticRegression(tol=1e-12)
    expected = r"newton-cholesky failed to converge .* no further progress .* in float32"
    with pytest.warns(ConvergenceWarning, match=expected):
        model.fit(X_IRIS.astype(np.float32), Y_IRIS)
    assert model.optimality_ < 1e-5


def test_early_stopping_is_no_failure():
    stopper = EarlyStopping(monitor="train_loss", patience=1, threshold=0.9, sink=lambda text: None)
    model = TorchLogisticRegression(callbacks=[stopper], solver="lbfgs").fit(X_IRIS, Y_IRIS)
    assert model.n_iter_[0] < 10
    assert model.score(X_IRIS, Y_IRIS) > 0.5


def test_history_has_a_row_an_iteration():
    model = TorchLogisticRegression(callbacks=[EpochTimer()]).fit(X_IRIS, Y_IRIS)
    assert len(model.history_) == model.n_iter_[0]
    assert model.history_[-1, "optimality"] == model.optimality_
    assert min(model.history_[:, "dur"]) > 0
    losses = model.history_[:, "train_loss"]
    assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_predict_the_same(twin_of):
    model = TorchLogisticRegression(solver="lbfgs", callbacks=[EpochTimer()])
    model.fit(X_IRIS, Y_IRIS)
    twin = twin_of(model)
    assert_array_equal(twin.predict_proba(X_IRIS), model.predict_proba(X_IRIS))
    assert hasattr(twin, "history_") == (twin_of is copy.deepcopy)


def test_clone_is_unfitted_and_equal():
    model = TorchLogisticRegression(C=2.0, callbacks=[EpochTimer()]).fit(X_IRIS, Y_IRIS)
    twin = clone(model)
    assert twin.C == 2.0
    for attribute in ("coef_", "module_", "history_"):
        assert not hasattr(twin, attribute)
    with pytest.raises(NotFittedError):
        twin.predict(X_IRIS)


def test_pipeline_and_grid_search():
    X, y = load_breast_cancer(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), TorchLogisticRegression())
    search = GridSearchCV(
        pipeline, {"torchlogisticregression__C": [0.01, 1.0, 100.0]}, cv=3, n_jobs=2
    ).fit(X, y)
    assert search.best_params_ == {"torchlogisticregression__C": 1.0}
    assert search.best_score_ > 0.97


def test_same_data_same_coefficients_to_the_last_bit():
    fits = [TorchLogisticRegression(solver="lbfgs").fit(X_IRIS, Y_IRIS).coef_ for _ in range(2)]
    assert_array_equal(*fits)


def test_nothing_global_changes():
    def state():
        return (
            torch.get_default_dtype(),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.get_rng_state().tolist(),
            list(warnings.filters),
        )

    before = state()
    model = TorchLogisticRegression(random_state=0).fit(X_IRIS, Y_IRIS)
    model.predict(X_IRIS)
    model.fit(sparse.csr_array(X_IRIS), Y_IRIS).predict(sparse.csr_array(X_IRIS))
    assert state() == before


def test_fit_and_predict_inside_of_inference_mode():
    expected = TorchLogisticRegression().fit(X_IRIS, Y_IRIS)
    with torch.inference_mode():
        model = TorchLogisticRegression().fit(torch.tensor(X_IRIS), Y_IRIS)
        proba = model.predict_proba(torch.tensor(X_IRIS))
    assert_allclose(proba.numpy(), expected.predict_proba(X_IRIS))
    assert not model.coef_.is_inference()


@over_solvers
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
def test_default_device_of_torch_does_not_matter(solver, container):
    torch.set_default_device("meta")
    try:
        model = TorchLogisticRegression(solver=solver).fit(container(X_IRIS), Y_IRIS)
        assert model.score(container(X_IRIS), Y_IRIS) > 0.95
    finally:
        torch.set_default_device(None)


def test_callbacks_that_need_single_rows_are_refused_with_the_reason():
    scoring = EpochScoring("accuracy", on_train=True, use_caching=False)
    with pytest.raises(TypeError, match=r"read many at a time.*use_caching=True"):
        TorchLogisticRegression(callbacks=[scoring]).fit(X_IRIS, Y_IRIS)


class Raiser(Callback):
    def on_epoch_end(self, net, **kwargs):
        raise RuntimeError("from a callback")


def test_failed_refit_leaves_everything_as_it_was():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X_IRIS, columns=list("abcd"))
    model = TorchLogisticRegression(callbacks=[]).fit(frame, Y_IRIS)
    before = vars(model).copy()
    model.callbacks.append(Raiser())
    with pytest.raises(RuntimeError, match="from a callback"):
        model.fit(X_IRIS[:, :2], Y_IRIS)
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is value for name, value in before.items())
    assert model.score(frame, Y_IRIS) > 0.95


class Tamperer(Callback):
    def on_train_end(self, net, **kwargs):
        with torch.no_grad():
            net.module_.coef.zero_()


def test_optimality_is_that_of_the_coefficients_whoever_changed_them():
    model = TorchLogisticRegression(callbacks=[Tamperer()])
    with pytest.warns(ConvergenceWarning, match="gradient norm is"):
        model.fit(X_IRIS, Y_IRIS)
    residual = np.full((150, 3), 1 / 3) - np.eye(3)[Y_IRIS]
    assert_allclose(model.optimality_, np.abs(residual.T @ X_IRIS / 150).max())


def test_callbacks_may_be_a_tuple_and_are_checked():
    TorchLogisticRegression(callbacks=(EpochTimer(),)).fit(X_IRIS, Y_IRIS)
    with pytest.raises(ValueError, match=r"entry 'print'; instances of skorch.callbacks.Callback"):
        TorchLogisticRegression(callbacks=["print"]).fit(X_IRIS, Y_IRIS)


@over_solvers
def test_extreme_penalties_and_weights_in_float32(solver):
    X = X_IRIS.astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for C in (1e40, 1e-40):
            model = TorchLogisticRegression(C, solver=solver).fit(X, Y_IRIS)
            assert np.isfinite(model.coef_).all()
    plain = TorchLogisticRegression(C=np.inf, solver=solver, max_iter=5)
    for weight in (1e39, 1e-46):
        with pytest.warns(ConvergenceWarning):
            expected = plain.fit(X, Y_IRIS).coef_
        with pytest.warns(ConvergenceWarning):
            model = plain.fit(X, Y_IRIS, sample_weight=np.full(150, weight))
        assert_allclose(model.coef_, expected, rtol=1e-2, atol=1e-2)


def test_overflow_is_an_error_not_a_model():
    with pytest.raises(ValueError, match=r"coefficients overflow.*Scale the columns"):
        TorchLogisticRegression().fit(X_IRIS * 1e200, Y_IRIS)


@pytest.mark.parametrize("solver", ["newton-cholesky", "newton-cg", "lbfgs", "sgd"])
def test_autocast_does_not_reach_the_solver(solver):
    X = X_IRIS.astype(np.float32)
    params = {"solver": solver, "tol": 1e-4 if solver != "sgd" else None}
    expected = TorchLogisticRegression(**params).fit(X, Y_IRIS)
    with torch.autocast("cpu", torch.bfloat16):
        model = TorchLogisticRegression(**params).fit(X, Y_IRIS)
        proba = model.predict_proba(X)
    assert_allclose(proba, expected.predict_proba(X), atol=1e-6)


def test_sparse_fits_in_threads_leave_the_warnings_filter_alone():
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        fits = [
            pool.submit(TorchLogisticRegression().fit, sparse.csr_array(X_IRIS), Y_IRIS)
            for _ in range(20)
        ]
    assert all(fit.result().score(X_IRIS, Y_IRIS) > 0.95 for fit in fits)
    assert list(warnings.filters) == before


def test_labels_of_many_rows_are_predicted_in_blocks():
    model = TorchLogisticRegression().fit(X_IRIS, Y_IRIS)
    n_times = 10_000
    many = np.tile(X_IRIS, (n_times, 1))
    assert len(list(feature_blocks(many, 3))) == 2
    expected = np.tile(model.predict(X_IRIS), n_times)
    proba = np.tile(model.predict_proba(X_IRIS), (n_times, 1))
    for X in (many, torch.from_numpy(many), sparse.csr_array(many)):
        assert_array_equal(np.asarray(model.predict(X)), expected)
        assert_allclose(np.asarray(model.predict_proba(X)), proba)

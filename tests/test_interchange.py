"""Models that go to scikit-learn, to ONNX and to torch, and come back."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, RidgeClassifier
from sklearn.preprocessing import StandardScaler

from torchlogreg import (
    BinaryLogistic,
    MultinomialLogistic,
    TorchLogisticRegression,
    TorchLogisticRegressionCV,
)
from torchlogreg.interchange import from_sklearn, to_sklearn

X_IRIS, Y_IRIS = load_iris(return_X_y=True)
TOLERANCES = {"float32": 1e-6, "float64": 1e-12}
METHODS = ("decision_function", "predict_proba")


def data(n_classes, dtype):
    X, y = (load_breast_cancer if n_classes == 2 else load_digits)(return_X_y=True)
    return StandardScaler().fit_transform(X).astype(dtype), y


@pytest.mark.parametrize("n_classes", [2, 10])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("to_container", [np.asarray, torch.as_tensor], ids=["array", "tensor"])
def test_scikit_learn_predicts_the_same(n_classes, dtype, to_container):
    X, y = data(n_classes, dtype)
    model = TorchLogisticRegression().fit(to_container(X), y)
    theirs = to_sklearn(model)
    assert isinstance(theirs.coef_, np.ndarray)
    for method in METHODS:
        expected = np.asarray(getattr(model, method)(to_container(X)))
        scale = np.abs(expected).max()
        assert_allclose(
            getattr(theirs, method)(X), expected, rtol=0, atol=TOLERANCES[dtype] * max(scale, 1)
        )
    assert_array_equal(theirs.predict(X), np.asarray(model.predict(to_container(X))))


@pytest.mark.parametrize("n_classes", [2, 10])
def test_there_and_back_is_where_it_was(n_classes):
    X, y = data(n_classes, "float64")
    model = TorchLogisticRegression(C=0.3, l1_ratio=0.5, fit_intercept=False).fit(X, y)
    again = from_sklearn(to_sklearn(model.sparsify()))
    assert_array_equal(again.predict_proba(X), model.densify().predict_proba(X))
    assert (again.C, again.l1_ratio, again.fit_intercept) == (0.3, 0.5, False)


def test_a_fit_of_what_comes_out_solves_the_same_problem():
    model = TorchLogisticRegression(C=0.1, class_weight="balanced", tol=1e-8).fit(X_IRIS, Y_IRIS)
    theirs = to_sklearn(model).fit(X_IRIS, Y_IRIS)
    assert_allclose(theirs.coef_, model.coef_, atol=1e-5)
    ours = from_sklearn(theirs).fit(X_IRIS, Y_IRIS)
    assert_allclose(ours.coef_, model.coef_, atol=1e-5)


def test_nothing_is_shared():
    model = TorchLogisticRegression().fit(X_IRIS, Y_IRIS)
    to_sklearn(model).coef_[:] = 0
    theirs = LogisticRegression(solver="newton-cg").fit(X_IRIS, Y_IRIS)
    from_sklearn(theirs).coef_[:] = 0
    assert model.score(X_IRIS, Y_IRIS) == theirs.score(X_IRIS, Y_IRIS) > 0.9


@pytest.mark.parametrize("n_classes", [2, 3])
def test_models_of_scikit_learn_become_modules(n_classes):
    keep = n_classes > Y_IRIS
    X, y = X_IRIS[keep], np.array(["a", "b", "c"])[Y_IRIS[keep]]
    theirs = LogisticRegression(solver="newton-cg").fit(X, y)
    model = from_sklearn(theirs)
    eta = model.module_(torch.from_numpy(X)).detach().squeeze(-1)
    assert_allclose(eta, theirs.decision_function(X), rtol=1e-12)
    assert_array_equal(model.predict(X), theirs.predict(X))


def test_the_chosen_penalty_goes_along():
    import pandas as pd

    X = pd.DataFrame(X_IRIS, columns=list("abcd"))
    model = TorchLogisticRegressionCV(Cs=[0.01, 1], cv=3).fit(X, Y_IRIS)
    theirs = to_sklearn(model)
    assert theirs.C == model.C_
    assert_allclose(theirs.predict_proba(X), model.predict_proba(X), rtol=1e-12)
    back = from_sklearn(
        LogisticRegressionCV(
            Cs=[1.0], l1_ratios=(0,), scoring="accuracy", use_legacy_attributes=False, max_iter=999
        ).fit(X, Y_IRIS)
    )
    assert back.C == 1.0
    assert list(back.feature_names_in_) == list("abcd")


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore:Inconsistent values")
def test_the_penalty_of_older_code_is_understood():
    few = Y_IRIS < 2
    X, y = X_IRIS[few], Y_IRIS[few]
    lasso = LogisticRegression(penalty="l1", solver="liblinear").fit(X, y)
    assert from_sklearn(lasso).l1_ratio == 1.0
    assert np.inf == from_sklearn(LogisticRegression(penalty=None, solver="newton-cg").fit(X, y)).C
    chosen = from_sklearn(LogisticRegressionCV(Cs=2, cv=2, max_iter=2000).fit(X, y))
    assert chosen.l1_ratio == 0.0


def test_a_stream_goes_on_from_a_model_of_scikit_learn():
    model = from_sklearn(LogisticRegression(max_iter=1000).fit(X_IRIS, Y_IRIS))
    coef = model.coef_.copy()
    model.set_params(solver="sgd", lr=1e-12).partial_fit(X_IRIS, Y_IRIS)
    assert_allclose(model.coef_, coef, atol=1e-9)


def test_what_is_not_a_fitted_logistic_regression_is_refused():
    with pytest.raises(NotFittedError):
        to_sklearn(TorchLogisticRegression())
    with pytest.raises(NotFittedError):
        from_sklearn(LogisticRegression())
    with pytest.raises(TypeError, match=r"RidgeClassifier.*LogisticRegression.*pipeline"):
        from_sklearn(RidgeClassifier())
    one_vs_rest = LogisticRegression().fit(X_IRIS * 0.1, Y_IRIS).set_params(solver="liblinear")
    with pytest.raises(ValueError, match=r"liblinear.*each class against the rest"):
        from_sklearn(one_vs_rest)


@pytest.mark.parametrize("n_classes", [2, 10])
def test_the_converter_to_onnx_takes_it(n_classes):
    from skl2onnx import to_onnx

    X, y = data(n_classes, "float32")
    model = TorchLogisticRegression(C=0.1).fit(X, y)
    graph = to_onnx(to_sklearn(model), X[:1], options={"zipmap": False})
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    labels, proba = session.run(None, {session.get_inputs()[0].name: X})
    assert_allclose(proba, model.predict_proba(X), atol=2e-6)
    assert_array_equal(labels, model.predict(X))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("n_classes", [2, 10])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_module_exports(n_classes, dtype, tmp_path):
    X, y = data(n_classes, dtype)
    module = TorchLogisticRegression(C=0.1).fit(X, y).module_.eval()
    rows = torch.from_numpy(X)
    expected = module(rows).detach()
    n = torch.export.Dim("n")
    program = torch.export.export(module, (rows[:7],), dynamic_shapes=({0: n},))
    assert_allclose(program.module()(rows).detach(), expected, rtol=0, atol=TOLERANCES[dtype] * 20)
    path = tmp_path / "model.onnx"
    torch.onnx.export(program, (rows[:7],), path, dynamo=True, verbose=False)
    onnx.checker.check_model(path)
    session = onnxruntime.InferenceSession(path)
    (eta,) = session.run(None, {session.get_inputs()[0].name: X})
    assert_allclose(eta, expected, rtol=0, atol=TOLERANCES[dtype] * 20)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_state_goes_to_a_linear_layer_and_back(n_outputs, bias):
    module_class = BinaryLogistic if n_outputs == 1 else MultinomialLogistic
    module, linear = module_class(4, n_outputs, bias=bias), torch.nn.Linear(4, n_outputs, bias=bias)
    assert list(module.state_dict()) == list(linear.state_dict())
    module.load_state_dict(linear.state_dict())
    X = torch.randn(6, 4)
    assert_allclose(module(X).detach(), linear(X).detach(), atol=1e-6)
    torch.nn.init.normal_(module.coef)
    linear.load_state_dict(module.state_dict())
    assert_allclose(module(X).detach(), linear(X).detach(), atol=1e-6)


def test_state_that_does_not_fit_is_refused():
    module = MultinomialLogistic(4, 3)
    state = torch.nn.Linear(5, 3).state_dict()
    with pytest.raises(RuntimeError, match=r"weight has the shape \(3, 5\).*\(3, 4\)"):
        module.load_state_dict(state)
    with pytest.raises(RuntimeError, match=r"Missing key.*bias"):
        module.load_state_dict(torch.nn.Linear(4, 3, bias=False).state_dict())
    with pytest.raises(RuntimeError, match=r"Unexpected key.*scale"):
        module.load_state_dict({**torch.nn.Linear(4, 3).state_dict(), "scale": torch.ones(1)})


def test_state_is_assigned_if_asked_for():
    module = MultinomialLogistic(4, 3, device="meta")
    linear = torch.nn.Linear(4, 3, dtype=torch.float64)
    module.load_state_dict(linear.state_dict(), assign=True)
    X = torch.randn(5, 4, dtype=torch.float64)
    assert module.coef.requires_grad
    assert_allclose(module(X).detach(), linear(X).detach(), rtol=1e-12)


def test_the_parts_of_a_state_share_no_memory():
    state = MultinomialLogistic(4, 3).state_dict()
    assert all(part.is_contiguous() for part in state.values())
    assert state["weight"].data_ptr() != state["bias"].data_ptr()
    storages = {part.untyped_storage().data_ptr() for part in state.values()}
    assert len(storages) == 2


def test_state_of_a_module_inside_of_another_has_its_prefix():
    outer = torch.nn.Sequential(torch.nn.Flatten(), MultinomialLogistic(4, 3))
    plain = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
    assert list(outer.state_dict()) == ["1.weight", "1.bias"]
    outer.load_state_dict(plain.state_dict())
    X = torch.randn(5, 2, 2)
    assert_allclose(outer(X).detach(), plain(X).detach(), atol=1e-6)

"""The link to the documentation, in the HTML representation of estimators."""

from importlib import metadata

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from torchlogreg import BatchedGridSearchCV, TorchLogisticRegression, TorchLogisticRegressionCV
from torchlogreg.estimators import documented

ESTIMATORS = [
    TorchLogisticRegression(),
    TorchLogisticRegressionCV(),
    BatchedGridSearchCV(TorchLogisticRegression(), {}),
]


@pytest.fixture(autouse=True)
def nothing_is_known(monkeypatch, tmp_path):
    documented._declared.cache_clear()
    monkeypatch.setattr(documented, "BUILT", tmp_path / "html")
    yield
    documented._declared.cache_clear()


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_it_leads_to_the_pages_that_a_checkout_has_built(estimator, tmp_path):
    assert estimator._get_doc_link() == ""
    (tmp_path / "html").mkdir()
    (tmp_path / "html" / "index.html").touch()
    page = f"api/generated/torchlogreg.{type(estimator).__name__}.html"
    link = (tmp_path / "html" / page).as_uri()
    assert estimator._get_doc_link() == link
    assert f'href="{link}"' in estimator._repr_html_()
    assert f'href="{link}"' in make_pipeline(StandardScaler(), estimator)._repr_html_()


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_an_address_that_the_package_declares_comes_first(estimator, monkeypatch):
    message = metadata.metadata("torchlogreg")
    message["Project-URL"] = "Documentation, https://docs.example/torchlogreg/"
    monkeypatch.setattr(metadata, "metadata", lambda name: message)
    page = f"api/generated/torchlogreg.{type(estimator).__name__}.html"
    assert estimator._get_doc_link() == f"https://docs.example/torchlogreg/{page}"


def test_a_class_of_a_user_has_no_page():
    class Mine(TorchLogisticRegression):
        pass

    assert Mine()._get_doc_link() == ""
    assert "scikit-learn.org" in LogisticRegression()._get_doc_link()

"""The package from outside: names, docstrings, README, examples, the demo."""

import doctest
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from importlib.metadata import requires, version
from pathlib import Path

import numpy as np
import pytest

import torchlogreg
from benchmarks import growth, report
from benchmarks.judge import objective
from benchmarks.suite import PUBLISHED, SUITE
from torchlogreg.datasets import load_mnist

ROOT = Path(__file__).parent.parent
MODULES = ["torchlogreg"] + [
    module.name for module in pkgutil.walk_packages(torchlogreg.__path__, "torchlogreg.")
]


def test_public_names():
    assert set(torchlogreg.__all__) == {
        "BatchedGridSearchCV",
        "BinaryLogistic",
        "LogisticPath",
        "MultinomialLogistic",
        "TorchLogisticRegression",
        "TorchLogisticRegressionCV",
        "__version__",
        "logistic_regression_path",
    }


def test_version_comes_from_one_place():
    assert version("torchlogreg") == torchlogreg.__version__


def test_hard_dependencies_are_few():
    """Tqdm comes with skorch, threadpoolctl with scikit-learn."""
    names = [re.match(r"[\w-]+", text)[0] for text in requires("torchlogreg") if ";" not in text]
    assert sorted(names) == ["numpy", "scikit-learn", "skorch", "threadpoolctl", "torch", "tqdm"]


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings(module):
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.testmod(importlib.import_module(module), optionflags=flags).failed == 0


@pytest.mark.parametrize(
    "estimator", [torchlogreg.TorchLogisticRegression, torchlogreg.TorchLogisticRegressionCV]
)
def test_every_parameter_is_documented(estimator):
    for name in inspect.signature(estimator).parameters:
        assert re.search(rf"^ *{name} : ", estimator.__doc__, re.MULTILINE), name


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=str)
def test_links_to_files_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text())
    assert all((ROOT / target).exists() for target in targets), targets


def test_readme_shows_the_published_times():
    assert report.readme_table() in (ROOT / "README.md").read_text()


def test_every_part_of_the_suite_is_published_and_shown(tmp_path):
    assert {path.stem for path in PUBLISHED.glob("*.json")} == set(SUITE)
    report.write(tmp_path)
    pages = [path.read_text() for path in (ROOT / "docs").rglob("*.rst")]
    shown = {name for page in pages for name in re.findall(r"_generated/(\w+)\.inc", page)}
    assert shown == {path.stem for path in tmp_path.glob("*.inc")}
    assert shown == {*SUITE, "comparison"}
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    assert "100 chunks, 10.0 GB in all" in (tmp_path / "stream.inc").read_text()


def test_runs_that_are_compared_are_of_one_version_and_machine():
    environments = [report.published(name)["environment"] for name in report.COMPARED]
    assert len({str(environment) for environment in environments}) == 1


def run(script, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-W", "error::FutureWarning", str(script)],
        cwd=cwd,
        env={**os.environ, "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("script", sorted((ROOT / "examples").glob("plot_*.py")), ids=str)
def test_example_runs(script, tmp_path, request):
    if "mnist" in script.name:
        request.getfixturevalue("mnist")  # skips if there is none
    assert len(script.read_text().splitlines()) < 80
    result = run(script, tmp_path)
    assert result.returncode == 0, result.stderr


def test_demo_without_mnist(tmp_path):
    """With an empty data folder and no way out, it says so and does the rest."""
    result = run(
        ROOT / "examples" / "demo.py",
        tmp_path,
        TORCHLOGREG_DATA=str(tmp_path / "nothing"),
        https_proxy="http://127.0.0.1:9",
        http_proxy="http://127.0.0.1:9",
    )
    assert result.returncode == 0, result.stderr
    assert "MNIST is left out: MNIST is not in" in result.stdout
    for word in ("Iris", "digits", "best C", "iris-decision-regions.png", "digit-templates.png"):
        assert word in result.stdout
    assert len(list((tmp_path / "demo-output").glob("*.png"))) == 2


@pytest.mark.parametrize(
    ("what", "shown", "stored"),
    [
        ("table", "objective above ours", '"excess"'),
        ("curves", "written to", '"suboptimality"'),
        pytest.param(
            "memory",
            "peak / X",
            '"peak"',
            marks=pytest.mark.skipif(
                not Path("/proc/self/clear_refs").exists(), reason="peaks are read from /proc"
            ),
        ),
    ],
)
def test_benchmark_command(tmp_path, what, shown, stored):
    output = tmp_path / "results.json"
    command = [sys.executable, "-m", "benchmarks", what, "--datasets", "wine", "--output", output]
    command += ["--processes", "1"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert shown in result.stdout
    assert stored in output.read_text()
    assert (tmp_path / "results.png").exists() == (what == "curves")


def test_growth_varies_one_size_at_a_time(monkeypatch):
    monkeypatch.setattr(growth, "BASE", {"n": 200, "d": 3, "n_classes": 2})
    monkeypatch.setattr(growth, "SCALES", {"n": [100, 200], "d": [2]})
    monkeypatch.setattr("benchmarks.runner.SECONDS", 0)
    records = growth.growth()
    assert [(r["varied"], r["n"], r["d"]) for r in records] == [
        *[("n", 100, 3)] * 2,
        *[("n", 200, 3)] * 2,
        *[("d", 200, 2)] * 2,
    ]
    ours, peer = records[:2]
    assert ours["competitor"] == "torchlogreg, all threads"
    assert peer["objective"] <= (1 + 1e-4) * ours["objective"]


def test_mnist_is_the_real_one(mnist):
    assert mnist.X_train.shape == (60_000, 784)
    assert mnist.X_test.shape == (10_000, 784)
    assert mnist.X_train.dtype == np.float32
    assert (mnist.X_train.min(), mnist.X_train.max()) == (0, 1)
    assert mnist.y_train[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]


def test_missing_mnist_is_explained(tmp_path, monkeypatch):
    for name in ("https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(FileNotFoundError, match="TORCHLOGREG_DATA"):
        load_mnist(tmp_path)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_mnist_is_solved_better_than_by_scikit_learn(mnist, dtype):
    """The minimum is 0.2321177; scikit-learn's max_iter=1000 ends at 0.2328, measured once."""
    X = mnist.X_train.astype(dtype)
    model = torchlogreg.TorchLogisticRegression().fit(X, mnist.y_train)
    assert model.optimality_ <= model.tol
    assert model.coef_.dtype == dtype
    value = objective(model.coef_, model.intercept_, X, mnist.y_train, C=1.0)
    assert 0.2321176 < value < 0.23215
    assert model.n_iter_[0] < 40
    assert model.score(mnist.X_test, mnist.y_test) > 0.925

"""The documentation builds without a warning; the examples, run elsewhere, are not run here."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """What the documentation is made of; pages that a build has made are left behind."""
    folder = tmp_path_factory.mktemp("checkout")
    made = shutil.ignore_patterns("_build", "_generated", "auto_examples", "generated", "results")
    for name in ("docs", "examples", "benchmarks"):
        shutil.copytree(ROOT / name, folder / name, ignore=made)
    for name in ("CHANGELOG.md", "CONTRIBUTING.md"):
        shutil.copy(ROOT / name, folder)
    return folder


def build(checkout, **environment):
    """As ``make docs`` does it; no network is to be had."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-D", "plot_gallery=0"]
    return subprocess.run(
        [*command, "docs", "html"],
        cwd=checkout,
        env={**environment, "https_proxy": "http://127.0.0.1:9", "PATH": "", "HOME": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_builds_without_warnings_or_network_or_mnist(checkout):
    result = build(checkout)
    assert result.returncode == 0, result.stderr
    pages = list((checkout / "html").rglob("*.html"))
    assert len(pages) >= 20
    estimator = (
        checkout / "html/api/generated/torchlogreg.TorchLogisticRegression.html"
    ).read_text()
    for name in ("n_iter_no_change", "suboptimality_", "partial_fit", "predict_log_proba"):
        assert name in estimator
    assert "test accuracy" in (checkout / "html/benchmarks.html").read_text()


def test_a_reference_that_leads_nowhere_fails(checkout):
    (checkout / "docs" / "changelog.md").write_text("# Changelog\n\n[nothing](nothing-here.md)\n")
    (checkout / "docs" / "install.rst").write_text("Install\n=======\n\n:class:`Nothing`\n")
    result = build(checkout)
    assert result.returncode != 0
    assert "nothing-here" in result.stderr
    assert "Nothing" in result.stderr

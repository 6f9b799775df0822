"""What is released: the built archives, the types, the price of the import, the workflows."""

import os
import pickle
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import torchlogreg

ROOT = Path(__file__).parent.parent
STEM = f"torchlogreg-{torchlogreg.__version__}"


def run(*command, **kwargs):
    result = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, check=False, **kwargs
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """A wheel made from the source archive, and that archive; made without a network."""
    folder = tmp_path_factory.mktemp("dist")
    run("-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return folder / f"{STEM}-py3-none-any.whl", folder / f"{STEM}.tar.gz"


def package_files():
    files = (ROOT / "torchlogreg").rglob("*")
    return {str(path.relative_to(ROOT)) for path in files if path.suffix in (".py", ".typed")}


def test_wheel_holds_the_package_and_nothing_else(archives):
    names = set(zipfile.ZipFile(archives[0]).namelist())
    info = f"{STEM}.dist-info"
    extra = {f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "licenses/LICENSE")}
    assert names == package_files() | extra
    assert "torchlogreg/py.typed" in names


def test_sdist_holds_what_the_tests_need_and_nothing_generated(archives):
    with tarfile.open(archives[1]) as archive:
        names = {name.removeprefix(f"{STEM}/") for name in archive.getnames()}
        largest = max(member.size for member in archive.getmembers())
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"):
        assert name in names
    tracked = {"docs/conf.py", "docs/guide/mathematics.rst", "Makefile", "conftest.py"}
    assert package_files() | tracked | {"tests/smoke.py", "benchmarks/judge.py"} <= names
    generated = ("_build", "auto_examples", "_generated", "results/", "demo-output", ".venv")
    assert not [name for name in names if any(part in name for part in generated)]
    assert largest < 200_000


def test_installed_wheel_works_outside_the_checkout(archives, tmp_path):
    """With the dependencies of this environment; ``make package`` installs them, too."""
    run("-m", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path, archives[0])
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    output = run(ROOT / "tests" / "smoke.py", tmp_path, cwd=tmp_path, env=environment)
    assert f"torchlogreg {torchlogreg.__version__} works" in output


def check_types(program, tmp_path):
    path = tmp_path / "program.py"
    path.write_text(program)
    command = ["mypy", "--strict", "--cache-dir", ROOT / ".mypy_cache" / "program", path]
    return subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    ).stdout


def test_typed_program_passes_in_strict_mode(tmp_path):
    program = (ROOT / "tests" / "typed_program.py").read_text()
    assert "Success" in check_types(program, tmp_path)


def test_wrong_program_fails_in_strict_mode(tmp_path):
    program = (
        "from torchlogreg import TorchLogisticRegression\n"
        "from torchlogreg.plotting import LossCurveDisplay\n"
        "TorchLogisticRegression(C='1')\n"
        "TorchLogisticRegression().fit([[1]], [1], simple_weight=[1])\n"
        "text: str = TorchLogisticRegression().optimality_\n"
        "LossCurveDisplay.from_estimator(TorchLogisticRegression(), x='second')\n"
    )
    output = check_types(program, tmp_path)
    assert re.findall(r"program\.py:(\d): error", output) == ["3", "4", "5", "6"], output


def test_import_loads_nothing_but_the_package():
    """What is dear, such as matplotlib or torchvision, waits until it is needed."""
    code = (
        "import sys, torch, sklearn, skorch; known = set(sys.modules); import torchlogreg; "
        "print(*{name.split('.')[0] for name in set(sys.modules) - known} "
        "- {name.split('.')[0] for name in known} - sys.stdlib_module_names)"
    )
    assert run("-c", code).split() == ["torchlogreg"]


def test_first_fit_does_not_load_the_compiler():
    """``torch._dynamo`` takes a second, on data that is fitted in milliseconds."""
    code = (
        "import sys; from sklearn.datasets import load_iris; "
        "from torchlogreg import TorchLogisticRegression; "
        "TorchLogisticRegression().fit(*load_iris(return_X_y=True)); "
        "print('torch._dynamo' in sys.modules)"
    )
    assert run("-c", code).strip() == "False"


def test_oldest_versions_are_those_that_are_promised():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    promised = set(project["dependencies"])
    for extra in ("dask", "datasets", "parquet", "plot", "ray"):
        promised |= {
            re.sub(r"\[.*\]", "", package) for package in project["optional-dependencies"][extra]
        }
    pins = (ROOT / "tests" / "oldest.txt").read_text().split()
    pinned = {pin.replace("==", ">=").removesuffix(".*") for pin in pins}
    assert promised <= pinned <= promised | set(project["optional-dependencies"]["dev"])


def workflow(name):
    return yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())


@pytest.mark.parametrize("name", ["tests", "docs", "publish"])
def test_workflows_run_what_is_there(name):
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    steps = [step for job in workflow(name)["jobs"].values() for step in job["steps"]]
    commands = [step["run"] for step in steps if "run" in step]
    made = [command.split()[1] for command in commands if command.startswith("make ")]
    made = [name for name in made if not name.startswith(".venv/.installed-")]
    assert set(made) <= set(targets)
    assert name == "docs" or ".ci/run" in commands


def test_versions_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == torchlogreg.__version__
    heading = f"## {torchlogreg.__version__} ({citation['date-released']})"
    assert heading in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("torchlogreg.logistic", "TorchLogisticRegression"),
        ("torchlogreg.modules", "BinaryLogistic"),
    ],
)
def test_pickles_of_the_first_release_are_refused_with_a_reason(module, name):
    old = f"c{module}\n{name}\n.".encode()
    with pytest.raises(pickle.UnpicklingError, match=rf"{module}.{name} .*0\.1\.0.* Fit again"):
        pickle.loads(old)


def test_those_who_look_for_a_function_in_all_modules_find_none_where_there_is_none():
    """Pickle does so for functions that do not say where they are from."""
    import scipy.special

    assert pickle.whichmodule(scipy.special.agm, "no_such_name") == "__main__"
    assert not hasattr(sys.modules["torchlogreg.batches"], "agm")

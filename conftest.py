"""Runs the code blocks of the README and the documentation as tests."""

import os

# Before SciPy is imported: without it, scikit-learn refuses arrays of other libraries.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

from doctest import ELLIPSIS, NORMALIZE_WHITESPACE
from importlib.util import find_spec

from sybil import Sybil
from sybil.parsers import markdown, rest

FLAGS = ELLIPSIS | NORMALIZE_WHITESPACE


def prepare(namespace):
    """Keep figures off the screen, and tell what old versions of packages lack."""
    import matplotlib

    matplotlib.use("agg")
    namespace["has_callbacks"] = find_spec("sklearn.callback") is not None


PAGES = Sybil(
    parsers=[rest.DocTestParser(FLAGS), rest.PythonCodeBlockParser(), rest.SkipParser()],
    patterns=["docs/*.rst", "docs/guide/*.rst"],
    setup=prepare,
)
README = Sybil(
    parsers=[markdown.PythonCodeBlockParser(doctest_optionflags=FLAGS)],
    filenames=["README.md", "CONTRIBUTING.md"],
    setup=prepare,
)
pytest_collect_file = (PAGES + README).pytest()

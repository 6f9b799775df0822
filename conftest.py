"""Runs the code blocks of the README and the documentation as tests."""

import os

# Before SciPy is imported: without it, scikit-learn refuses arrays of other libraries.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

from doctest import ELLIPSIS, NORMALIZE_WHITESPACE

from sybil import Sybil
from sybil.parsers import markdown, rest

FLAGS = ELLIPSIS | NORMALIZE_WHITESPACE


def draw_nowhere(namespace):
    """Keep figures off the screen."""
    import matplotlib

    matplotlib.use("agg")


PAGES = Sybil(
    parsers=[rest.DocTestParser(FLAGS), rest.PythonCodeBlockParser()],
    patterns=["docs/*.rst", "docs/guide/*.rst"],
    setup=draw_nowhere,
)
README = Sybil(
    parsers=[markdown.PythonCodeBlockParser(doctest_optionflags=FLAGS)],
    filenames=["README.md", "CONTRIBUTING.md"],
    setup=draw_nowhere,
)
pytest_collect_file = (PAGES + README).pytest()

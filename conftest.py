"""Runs the code blocks of the README and the documentation as tests."""

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

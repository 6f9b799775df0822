"""Configuration of the documentation."""

from torchlogreg import __version__

project = "torchlogreg"
author = "The torchlogreg developers"
copyright = f"2026, {author}"
release = __version__

extensions = [
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
]
exclude_patterns = ["_build"]
default_role = "code"
numpydoc_show_class_members = False
autodoc_typehints = "none"

html_theme = "pydata_sphinx_theme"
html_theme_options = {"show_prev_next": False}
html_title = "torchlogreg"

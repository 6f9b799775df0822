"""Configuration of the documentation."""

from torchlogreg import __version__
from torchlogreg.datasets import data_root

project = "torchlogreg"
author = "The torchlogreg developers"
copyright = f"2026, {author}"
release = __version__

extensions = [
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
]

# Every example is shown; that of MNIST is run where its data is at hand.
has_mnist = (data_root() / "MNIST" / "raw").exists()
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_" if has_mnist else r"/plot_(?!mnist)",
    "ignore_pattern": r"demo\.py",
    "min_reported_time": 10**6,
    "remove_config_comments": True,
}
exclude_patterns = ["_build"]
default_role = "code"
numpydoc_show_class_members = False
autodoc_typehints = "none"

html_theme = "pydata_sphinx_theme"
html_theme_options = {"show_prev_next": False}
html_title = "torchlogreg"

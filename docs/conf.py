"""Configuration of the documentation."""

from pathlib import Path

from docutils import nodes

from benchmarks import report
from torchlogreg import __version__
from torchlogreg.datasets import data_root

project = "torchlogreg"
author = "The torchlogreg developers"
copyright = f"2026, {author}"
release = __version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "auto_examples/**/*.md5"]
templates_path = ["_templates"]
default_role = "code"
nitpicky = True  # a reference that leads nowhere is an error
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Every example is shown; those with MNIST are run where its data is at hand.
has_mnist = (data_root() / "MNIST" / "raw").exists()
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_" if has_mnist else r"/plot_(?!mnist)",
    "ignore_pattern": r"demo\.py",
    "capture_repr": (),
    "min_reported_time": 10**6,
    "remove_config_comments": True,
    "backreferences_dir": "api/backreferences",
    "doc_module": ("torchlogreg",),
}

html_theme = "pydata_sphinx_theme"
html_title = "torchlogreg"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_theme_options = {
    "header_links_before_dropdown": 6,
    "navbar_align": "left",
    "navbar_persistent": ["search-button"],
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
}
html_sidebars = {"benchmarks": [], "changelog": [], "contributing": [], "install": []}

SITES = {
    "sklearn": "https://scikit-learn.org/stable/modules/generated/{}.html",
    "torch": "https://docs.pytorch.org/docs/stable/generated/{}.html",
    "skorch": "https://skorch.readthedocs.io/en/stable/search.html?q={}",
}
"""Pages of other projects' objects. Written out, so that the build needs no network."""


def link_elsewhere(app, env, node, content):
    """Resolve a reference to an object of scikit-learn, PyTorch or skorch."""
    target = node.get("reftarget", "")
    site = SITES.get(target.split(".")[0])
    if site is None or "." not in target:
        return None
    return nodes.reference("", "", content, refuri=site.format(target), internal=False)


def write_benchmarks(app):
    """Make tables and pictures of the published runs."""
    report.write(Path(app.srcdir) / "_generated")


def setup(app):
    """Register what is above."""
    app.connect("builder-inited", write_benchmarks)
    app.connect("missing-reference", link_elsewhere)

"""Where the documentation of an estimator is, for the link in its HTML representation."""

from __future__ import annotations

import functools
from importlib import metadata
from pathlib import Path

BUILT = Path(__file__).parents[2] / "docs" / "_build" / "html"
"""Where a checkout keeps the pages that it has built."""


class DocumentedMixin:
    """Has the link of scikit-learn's HTML representation lead to the documentation.

    That is at the address that the installed package declares, or in a checkout among the pages
    that ``make docs`` has built. There is no link if there is neither.
    """

    _doc_link_module = "torchlogreg"

    @property
    def _doc_link_template(self) -> str:
        """Address of the page, for scikit-learn to fill in."""
        address = documentation()
        name = f"torchlogreg.{type(self).__name__}"
        return f"{address}/api/generated/{name}.html" if address else ""


def documentation() -> str | None:
    """Return the address of the documentation; None if it is not known."""
    declared = _declared()
    if declared is not None:
        return declared
    return BUILT.as_uri() if (BUILT / "index.html").exists() else None


@functools.cache
def _declared() -> str | None:
    """Return the address in the metadata of the installed package."""
    try:
        urls = metadata.metadata("torchlogreg").get_all("Project-URL") or []
    except metadata.PackageNotFoundError:
        return None
    named = dict(url.split(", ", 1) for url in urls)
    address = named.get("Documentation")
    return None if address is None else address.rstrip("/")

"""Sphinx's settings; `make docs` builds with warnings as errors."""

from vocaffect import __version__

project = "vocaffect"
author = "the vocaffect developers"
copyright = author  # noqa: A001  # Sphinx's name for it
release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
default_role = "code"

html_theme = "furo"
html_title = f"vocaffect {release}"
html_show_sphinx = False

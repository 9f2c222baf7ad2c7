"""The site: every chapter as a page, and the reference from the docstrings.  ``sphinx-build chapters site``."""

project = "YOLOv3 from scratch"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["exercises", "experiments", "solutions/.ipynb_checkpoints", ".ipynb_checkpoints"]
root_doc = "index"

nb_execution_mode = "off"  # the chapters are committed with their outputs
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3

autosummary_generate = True
autosummary_ignore_module_all = False
templates_path = ["templates"]
autodoc_default_options = {"members": True}
autodoc_mock_imports = ["cupy", "av", "onnx"]
html_title = project
suppress_warnings = ["mystnb.unknown_mime_type", "myst.xref_missing"]

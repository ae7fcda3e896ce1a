"Sphinx: the site. `python docs/build.py` stages the pages, calls Sphinx with this file and makes the slides."
from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

project = "deepslide_nb"
author = "The deepslide_nb developers"
copyright = "the deepslide_nb developers, Apache-2.0"
language = "en"

extensions = ["myst_nb"]
root_doc = "index"
exclude_patterns = ["downloads"]
add_module_names = False
toc_object_entries_show_parents = "hide"
python_use_unqualified_type_names = True

nb_execution_mode = "off"
nb_ipywidgets_js = {}  # the stored picture of a widget is shown; nothing is fetched
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 4
html_math_renderer = "mathml"

html_theme = "furo"
html_title = "deepslide_nb"
html_favicon = "_static/icon.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
html_copy_source = html_show_sphinx = False
pygments_style, pygments_dark_style = "xcode", "github-dark"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#7a2f6f", "color-brand-content": "#7a2f6f", "color-brand-visited": "#7a2f6f"},
    "dark_css_variables": {"color-brand-primary": "#e3a5d8", "color-brand-content": "#e3a5d8", "color-brand-visited": "#e3a5d8"},
}


def mathml(block):
    "A visitor that writes LaTeX as MathML, which browsers draw without a script."

    def visit(self, node):
        self.body.append(tex2mathml(node.astext(), as_block=block))
        raise nodes.SkipNode

    return visit, None


def setup(app):
    app.add_html_math_renderer("mathml", mathml(False), mathml(True))
    return {"parallel_read_safe": True, "parallel_write_safe": True}

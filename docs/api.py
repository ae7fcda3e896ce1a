"""The reference: one page of Markdown for each module, from the code and its docments.

The code is read, and imported for fastcore's `docments`. Each entry leads to the heading of the lesson under which it is built."""
import ast
import importlib
import inspect
import json
import re
import sys
from functools import cache
from pathlib import Path

import nbformat
from fastcore.docments import docments

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
PACKAGE = ROOT / "deepslide_nb"
CELL = re.compile(r"# %% \.\./nbs/(\w+)\.ipynb #([\w-]+)")
DEFS = ast.FunctionDef, ast.AsyncFunctionDef


# ---- Markdown ---------------------------------------------------------------------------------------------------------
def md(plain, table=False):
    "Plain text of a comment or docstring as Markdown: only backticks mean something."
    parts = re.split(r"(`[^`]+`)", plain or "")
    parts = [p if i % 2 else re.sub(r"([\\*_<>\[\]{}$#~^])", r"\\\1", p) for i, p in enumerate(parts)]
    return "".join(parts).replace("|", "\\|") if table else "".join(parts)


def code(plain, table=False):
    plain = plain.replace("|", "\\|") if table else plain
    return f"`{plain}`" if plain else ""


def rows(head, lines):
    "A table without columns that would be empty."
    kept = [i for i in range(len(head)) if not i or any(line[i] for line in lines)]
    head, lines = [head[i] for i in kept], [[line[i] for i in kept] for line in lines]
    return "\n".join(["| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *lines]])


# ---- lessons ----------------------------------------------------------------------------------------------------------
@cache
def headings(stem):
    "For each cell of a lesson, by id, the heading that it stands under: text and anchor."
    found, seen, under = {}, {}, ("", "")
    for cell in nbformat.read(ROOT / "nbs" / f"{stem}.ipynb", 4).cells:
        for title in re.findall(r"^#{1,4} (.+)$", cell.source, re.M) if cell.cell_type == "markdown" else []:
            slug = re.sub(r"[^\w\- ]", "", title.strip().lower().replace(" ", "-"))  # as myst_heading_anchors makes them
            seen[slug] = seen.get(slug, -1) + 1
            under = title.strip(), slug + (f"-{seen[slug]}" if seen[slug] else "")
        found[cell.id] = under
    return found


# ---- a module ---------------------------------------------------------------------------------------------------------
class Module:
    "What a module makes public, in the order of the lesson."

    def __init__(self, path):
        self.name, source = path.stem, path.read_text(encoding="utf-8")
        self.tree, self.lines = ast.parse(source), source.split("\n")
        self.doc = ast.get_docstring(self.tree) or ""
        self.stem = re.search(r"File to edit: \.\./nbs/(\w+)\.ipynb", source)[1]
        self.public, self.nodes, self.patches = [], {}, {}
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
                self.public = ast.literal_eval(node.value)
            elif isinstance(node, ast.Assign):
                self.nodes |= {t.id: node for t in ast.walk(node.targets[0]) if isinstance(t, ast.Name)}
            elif isinstance(node, DEFS) and any("patch" in ast.unparse(d) for d in node.decorator_list):
                its = ast.unparse(node.args.args[0].annotation)
                self.patches.setdefault(its, []).append(node)
            elif isinstance(node, (*DEFS, ast.ClassDef)):
                self.nodes[node.name] = node

    @property
    def own(self):
        "Public names that are defined here, with their nodes."
        return {n: self.nodes[n] for n in self.public if n in self.nodes}

    def built(self, node):
        "A link to the heading of the lesson under which a node is built."
        marks = [m for line in self.lines[: node.lineno] if (m := CELL.match(line))]
        under = headings(marks[-1][1])
        title, slug = under.get(marks[-1][2], under[first(marks[-1][1])])
        return f"Built in lesson {marks[-1][1][:2]}: [{md(title)}](../../nbs/{marks[-1][1]}.ipynb#{slug})"


@cache
def modules():
    "All modules of the package that a lesson makes, in the order of the lessons."
    found = [Module(p) for p in PACKAGE.glob("*.py") if "File to edit: ../nbs/" in p.read_text(encoding="utf-8")[:1000]]
    return sorted(found, key=lambda m: m.stem)


# ---- entries ----------------------------------------------------------------------------------------------------------
def type_of(annotation):
    "The source of an annotation; of `Annotated[T, ...]` only T."
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Annotated":
        return ast.unparse(annotation.slice.elts[0])
    return ast.unparse(annotation) if annotation else ""


def arguments(node):
    "Of a function: (name with stars, type, default) of each parameter, without `self` and `cls`."
    a = node.args
    plain = [*a.posonlyargs, *a.args]
    defaults = [None] * (len(plain) - len(a.defaults)) + a.defaults
    pairs = [*zip(plain, defaults), *([(a.vararg, None)] if a.vararg else []), *zip(a.kwonlyargs, a.kw_defaults), *([(a.kwarg, None)] if a.kwarg else [])]
    stars = {id(a.vararg): "*", id(a.kwarg): "**"}
    found = [(stars.get(id(p), "") + p.arg, type_of(p.annotation), ast.unparse(d) if d else "") for p, d in pairs]
    return [f for i, f in enumerate(found) if i or f[0] not in ("self", "cls")]


def signature(node):
    "What stands between the parentheses, without types, which the table has, and the type behind the arrow."
    shown, stars = [], False
    names = {f"{p.arg}" for p in node.args.kwonlyargs}
    for name, _, default in arguments(node):
        if name in names and not stars and not node.args.vararg:
            shown, stars = [*shown, "*"], True
        shown.append(name + (f"={default}" if default else ""))
    returns = type_of(node.returns)
    return f"({', '.join(shown)})" + (f" -> {returns}" if returns else "")


def comments(thing):
    "What docments says of parameters; for a command line also the help of its options."
    thing = inspect.unwrap(thing.fget if isinstance(thing, property) else getattr(thing, "__func__", thing))
    found = dict(docments(thing, args_kwargs=True))
    for name, its in getattr(thing, "__annotations__", {}).items():
        told = next((m.help for m in getattr(its, "__metadata__", ()) if getattr(m, "help", None)), None)
        found[name] = found.get(name) or told
    return found


def parameters(node, told):
    "A table of parameters and a line on what is returned."
    lines = [[code(n, True), code(t, True), code(d, True), md(told.get(n.strip("*")), True)] for n, t, d in arguments(node)]
    parts = [rows(["parameter", "type", "default", "meaning"], lines)] if lines else []
    if node.returns and (ast.unparse(node.returns) != "None" or told.get("return")):
        parts.append(f"**Returns** {code(type_of(node.returns))}" + (f": {md(told['return'])}" if told.get("return") else ""))
    return parts


def entry(kind, head, parts, options="", depth=3):
    "A directive of Sphinx's Python domain."
    fence = ":" * depth
    return "\n".join([f"{fence}{{py:{kind}}} {head}", *options.splitlines(), "", "\n\n".join(p for p in parts if p), fence])


def function(module, node, thing, kind="function", depth=3, link=True):
    marks = {ast.unparse(d).split("(")[0].split(".")[-1] for d in node.decorator_list}
    if "property" in marks:
        head, kind, options = node.name, "property", f":type: {type_of(node.returns)}" if node.returns else ""
        told = comments(thing).get("return")
        body = [md(told)] if told else []
    else:
        head, body = node.name + signature(node), parameters(node, comments(thing))
        options = "\n".join(f":{m}:" for m in ("staticmethod", "classmethod") if m in marks and kind == "method")
    note = "Use it in a `with` statement." if "contextmanager" in marks else ""
    built = module.built(node) if link else ""
    return entry(kind, head, [md(ast.get_docstring(node)), note, *body, built], options, depth)


def methods(module, name, node):
    "(module, node) of the public methods of a class: its own, and those that lessons add with `@patch`."
    found = [(module, n) for n in node.body if isinstance(n, DEFS)]
    found += [(m, n) for m in modules() for n in m.patches.get(name, [])]
    return [(m, n) for m, n in found if not n.name.startswith("_") and not any(".setter" in ast.unparse(d) for d in n.decorator_list)]


def klass(module, name, node, thing):
    made = next((n for m, n in [(module, n) for n in node.body if isinstance(n, DEFS)] + [(module, n) for n in module.patches.get(name, [])] if n.name == "__init__"), None)
    fields = [n for n in node.body if isinstance(n, ast.AnnAssign)]
    bases = [ast.unparse(b) for b in node.bases]
    known = {n: f"{{py:class}}`~deepslide_nb.{m.name}.{n}`" for m in modules() for n in m.own}
    parts = [md(ast.get_docstring(node)), "Bases: " + ", ".join(known.get(b, code(b)) for b in bases) if bases else ""]
    if made:
        parts += [md(ast.get_docstring(made)), *parameters(made, comments(thing.__init__))]
    elif fields:
        told = dict(docments(thing)) if hasattr(thing, "__dataclass_fields__") else {}
        parts.append(rows(["field", "type", "default", "meaning"], [[code(f.target.id), code(type_of(f.annotation), True), code(ast.unparse(f.value) if f.value else "", True),
                                                                     md(told.get(f.target.id), True)] for f in fields]))  # fmt: skip
    parts.append(module.built(node))
    for m, n in methods(module, name, node):
        method = inspect.getattr_static(thing, n.name, None)
        parts.append(function(m, n, method, "method", 4, m is not module or m.built(n) != module.built(node)) if method is not None else "")
    return entry("class", name + (signature(made).split(" -> ")[0] if made else ""), parts, depth=5)


def data(module, name, node):
    "A constant, with its value where that is short, and the comment behind it."
    value = ast.unparse(node.value)
    comment = re.search(r"\s#\s(.+)$", module.lines[node.end_lineno - 1])
    options = f":value: {json.dumps(value)}" if len(value) < 200 else ""
    return entry("data", name, [md(comment[1]) if comment else "", module.built(node)], options)


def page(module):
    "The page of a module."
    loaded = importlib.import_module(f"deepslide_nb.{module.name}")
    parts = [f"# {module.name}", f":::{{py:module}} deepslide_nb.{module.name}\n:::", md(module.doc), f"Built in the lesson [{module.stem[:2]} {md(headings(module.stem)[first(module.stem)][0])}](../../nbs/{module.stem}.ipynb)."]
    functions, constants = [], []
    for name, node in module.own.items():
        thing = getattr(loaded, name)
        if isinstance(node, DEFS):
            functions.append(function(module, node, thing))
        elif isinstance(node, ast.ClassDef):
            functions.append(klass(module, name, node, thing))
        else:
            constants.append(data(module, name, node))
    others = [n for n in module.public if n not in module.own]
    if others:
        homes = {n: m.name for m in modules() for n in m.own}
        parts.append("Also here, from other modules: " + ", ".join(f"{{py:obj}}`~deepslide_nb.{homes[n]}.{n}`" for n in others if n in homes) + ".")
    parts += ["## Functions and classes", *functions] if functions else []
    parts += ["## Constants", *constants] if constants else []
    return "\n\n".join(parts) + "\n"


def first(stem):
    return next(iter(headings(stem)))


def index():
    "The list of modules."
    lines = [[f"[{m.name}]({m.name}.md)", md(m.doc.split("\n")[0], True), f"[{m.stem}](../../nbs/{m.stem}.ipynb)"] for m in modules()]
    names = "\n".join(m.name for m in modules())
    return f"# Reference\n\nThe modules of `deepslide_nb`, in the order of the lessons that build them.\n\n{rows(['module', 'what for', 'lesson'], lines)}\n\n```{{toctree}}\n:hidden:\n\n{names}\n```\n"


def pages():
    "(name, Markdown) of all pages."
    yield "index", index()
    for module in modules():
        yield module.name, page(module)


def summary(stem):
    "Markdown: what a lesson builds, each with the first sentence of its docstring and a link; empty if nothing."
    lines = []
    for module in (m for m in modules() if m.stem == stem):
        for name, node in module.own.items():
            if isinstance(node, (*DEFS, ast.ClassDef)):
                doc = re.split(r"(?<=[^.]\.)\s", " ".join((ast.get_docstring(node) or "").split()), maxsplit=1)[0]
                lines.append(f"- {{py:obj}}`~deepslide_nb.{module.name}.{name}`: {md(doc)}")
    return "\n".join(lines)

"""The pages of the site, in the layout of the repository, so that the links between them hold.

Lessons and exercises are changed a little: comments that steer nbdev go, `#| fig-alt:` becomes the picture's alt text, what is
exported gets a badge, the quiz stands open, exercises are the students' edition."""
import html
import json
import os
import re
import shutil
import sys
from pathlib import Path

import api
import nbformat

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import course  # noqa: E402

STEER = re.compile(r"#\|\s*([\w-]+):?\s*(.*)")
QUIZ = re.compile(r"""Quiz\(["'](quizzes/\w+\.json)["']\)""")
LINK = re.compile(r"(\]\()((?!https?:|mailto:|#)[^)\s]+)(\))")
FOLDERS = {"nbs/exercises": "docs/exercises.md", "nbs/quizzes": "docs/lessons.md", "nbs": "docs/lessons.md", "docs/guide": "docs/guide/index.md"}
PAGES = ["docs/lessons", "docs/exercises", "docs/guide/index", "docs/glossary", "docs/places", "docs/run_times", "docs/api/index"]


# ---- cells ------------------------------------------------------------------------------------------------------------
def steering(source):
    "The `#| name: value` lines at the head of a cell as a dict, and the rest of the cell."
    found, lines = {}, source.split("\n")
    while lines and (m := STEER.fullmatch(lines[0].strip())):
        found[m[1]] = m[2]
        lines.pop(0)
    return found, "\n".join(lines).strip("\n")


def text(plain):
    "Escaped HTML of a quiz's plain text; what stands in backticks is code."
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(" ".join(str(plain).split())))


def said(answer):
    "What a numeric answer is about: a value, a range, or all else."
    if answer["type"] == "range":
        return "from {} to {}".format(*answer["range"])
    return str(answer["value"]) if answer["type"] == "value" else "anything else"


def quiz_html(questions):
    "A quiz to read: every choice opens to its explanation; of a number, all answers open at once."
    lines = ['<ol class="quiz">']
    for q in questions:
        lines.append(f"<li><p>{text(q['question'])}</p>")
        verdicts = [(a, "<strong>{}</strong> {}".format("Right." if a.get("correct") else "Wrong.", text(a["feedback"]))) for a in q["answers"]]
        if q["type"] == "numeric":
            lines += ["<details><summary>Show the answers</summary><ul>"]
            lines += [f"<li>{text(said(a))}: {verdict if a['type'] != 'default' else text(a['feedback'])}</li>" for a, verdict in verdicts]
            lines += ["</ul></details>"]
        else:
            lines += ["<p>One or more are right.</p>"] if q["type"] == "many_choice" else []
            lines += [f"<details><summary>{text(a['answer'])}</summary><p>{verdict}</p></details>" for a, verdict in verdicts]
        lines.append("</li>")
    return "\n".join([*lines, "</ol>"])


def shown(cell, folder=ROOT / "nbs"):
    "A cell as readers see it, or None for one that is there for the tools alone."
    if cell.cell_type != "code":
        return cell
    steer, cell.source = steering(cell.source)
    if quiz := QUIZ.fullmatch(cell.source):
        questions = json.loads((folder / quiz[1]).read_text(encoding="utf-8"))
        note = "Open a choice to see whether it is right, and why. In the notebook the quiz takes your answers.\n\n"
        return nbformat.v4.new_markdown_cell(note + quiz_html(questions), id=cell.id)
    if not cell.source or "hide" in steer or cell.source == "from deepslide_nb.quiz import Quiz":
        return None
    if "export" in steer:
        cell.metadata.tags = [*cell.metadata.get("tags", []), "exported"]
    if "fig-alt" in steer:
        cell.metadata.alt, cell.metadata.mystnb = steer["fig-alt"], {"image": {"alt": steer["fig-alt"]}}
    return cell


def goal(address):
    "Where a link of a lesson leads on the site: a folder is its list of pages, the front page is README.md's, a module its page of the reference."
    up, folder = re.fullmatch(r"((?:\.\./)*)(.*?)/?", address).groups()
    if folder in FOLDERS:
        return up + FOLDERS[folder]
    address = re.sub(r"(^|/)index\.ipynb", r"\1../index.md", address)
    address = re.sub(r"(^|/)README\.md", r"\1index.md", address)
    return re.sub(r"deepslide_nb/(\w+)\.py$", r"docs/api/\1.md", address)


def lead(m):
    return m[1] + goal(m[2]) + m[3]


def lesson(path):
    "A lesson with its stored outputs, and the list of what it builds."
    nb = nbformat.read(path, 4)
    cells = [c for c in map(shown, nb.cells) if c]
    front = next((c for c in cells if "front" in c.metadata.get("tags", [])), cells[0])
    front.source += f'\n{"- " * (front is not cells[0])}**Slides:** <a href="../slides/{path.stem}.html">for a lecture of 15 minutes</a>.'
    if built := api.summary(path.stem):
        cells += [nbformat.v4.new_markdown_cell(t, id=f"builds-{i}") for i, t in enumerate(["## What this lesson builds", built])]
    nb.cells = cells
    return nb


def exercise(path):
    "The students' edition of a notebook of exercises."
    nb = course.student(nbformat.read(path, 4))
    nb.cells = [c for c in map(shown, nb.cells) if c]
    nb.cells[1].source += f"\n\n{{download}}`Download this notebook <../../downloads/{path.name}>`"
    return nb


def listing(title, place, paths):
    "Markdown: a list of notebooks by number and title, with what each says of itself."
    lines, names = [], []
    for path in paths:
        head = nbformat.read(path, 4).cells[0].source.split("\n")
        name = f"{path.stem[:2]} {head[0].removeprefix('# ').removeprefix('Exercises: ')}"
        lines.append([f"[{name}]({place}{path.name})", " ".join(head[1:]).strip(" >").replace("|", "\\|"), f'<a href="../slides/{path.stem}.html">slides</a>'])
        names.append(f"{name} <{place}{path.stem}>")
    columns = ["lesson", "what it is about", "lecture"] if title == "Lessons" else ["exercises", "what they are about"]
    return f"# {title}\n\n{api.rows(columns, [line[: len(columns)] for line in lines])}\n{toctree(names)}"


# ---- files ------------------------------------------------------------------------------------------------------------
class Stage:
    "A folder that holds what is put into it and nothing else; files that stay the same are not touched."

    def __init__(self, folder):
        self.folder, self.kept = Path(folder).resolve(), set()

    def put(self, name, content):
        "Write text, a notebook or bytes."
        if isinstance(content, nbformat.NotebookNode):
            for cell in content.cells:
                if cell.cell_type == "markdown":
                    cell.source = LINK.sub(lead, cell.source)
            content = nbformat.writes(content)
        elif isinstance(content, str):
            content = LINK.sub(lead, content)
        content = content if isinstance(content, bytes) else content.encode()
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)
        self.kept.add(path)

    def copy_linked(self):
        "Files that the pages link to, such as settings.ini."
        for path in [p for p in self.kept if p.suffix in (".md", ".ipynb") and "downloads" not in p.parts]:
            content = path.read_text(encoding="utf-8")
            texts = [c.source for c in nbformat.reads(content, 4).cells if c.cell_type == "markdown"] if path.suffix == ".ipynb" else [content]
            for goal in {m[2].split("#")[0] for t in texts for m in LINK.finditer(t)}:
                staged = Path(os.path.normpath(path.parent / goal))
                source = ROOT / os.path.relpath(staged, self.folder)
                if staged not in self.kept and source.is_file() and source.suffix not in (".md", ".ipynb"):
                    self.put(source.relative_to(ROOT), source.read_bytes())

    def tidy(self):
        "Remove what earlier builds left."
        for path in sorted(self.folder.rglob("*"), reverse=True):
            if path.is_file() and path not in self.kept:
                path.unlink()
            elif path.is_dir() and not any(path.iterdir()):
                path.rmdir()


def toctree(names):
    "A list of pages for the sidebar, which does not show on the page."
    return "\n".join(["", "```{toctree}", ":hidden:", "", *names, "```", ""])


def guide(path):
    "A page of Markdown; the guide's first page leads to its others in the order in which it names them."
    content = path.read_text(encoding="utf-8")
    if path.name != "index.md":
        return content
    others = sorted((p.stem for p in path.parent.glob("*.md") if p != path), key=lambda n: (content + f"]({n}.md)").index(f"]({n}.md"))
    return content + toctree(others)


def make(folder, stems=()):
    "Fill `folder` with all pages, or with those of some lessons."
    stage = Stage(folder)
    paths = course.names(list(stems))
    pages = [f"{p}" for p in PAGES if p in ("docs/lessons", "docs/exercises", "docs/api/index") or (ROOT / f"{p}.md").exists()]
    stage.put("index.md", (ROOT / "README.md").read_text(encoding="utf-8") + toctree(pages))
    for path in paths:
        stage.put(f"nbs/{path.name}", lesson(path))
    done = [p for p in course.names([], ROOT / "nbs" / "exercises") if p.name in {q.name for q in paths}]
    for path in done:
        stage.put(f"nbs/exercises/{path.name}", exercise(path))
        stage.put(f"downloads/{path.name}", nbformat.writes(course.student(nbformat.read(path, 4))).encode())
    stage.put("docs/lessons.md", listing("Lessons", "../nbs/", paths))
    stage.put("docs/exercises.md", listing("Exercises", "../nbs/exercises/", done))
    for name, page in api.pages():
        stage.put(f"docs/api/{name}.md", page)
    for path in [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "guide").rglob("*")]:
        if path.is_file():
            stage.put(path.relative_to(ROOT), guide(path) if path.suffix == ".md" else path.read_bytes())
    for path in (ROOT / "nbs" / "images").iterdir():
        stage.put(path.relative_to(ROOT), path.read_bytes())
    stage.copy_linked()
    stage.tidy()


if __name__ == "__main__":
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    make(sys.argv[1], sys.argv[2:])

"""The course: editions of the exercises, their trial runs, the check of everything that teaches, and generated pages.

    python tools/course.py build [NAME ...]    nbs/exercises -> build/exercises/student, solution and source (nbgrader's)
    python tools/course.py try [NAME ...]      build, then run the solution edition (passes whole) and the student edition
                                               (fails only where something is left to do)
    python tools/course.py check [NAME ...]    the form of lessons, exercises and quizzes; exit 1 with what is wrong
    python tools/course.py times [NAME ...]    run the lessons from fresh kernels and write docs/run_times.md
    python tools/course.py pages               write the generated pages of docs/guide (outcomes, marking guides)

NAME is `03` or `03_tissue`; without one all are taken.
"""
import ast
import copy
import json
import os
import re
import sys
import time
from datetime import date
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
NBS, BUILD, GUIDE = ROOT / "nbs", ROOT / "build" / "exercises", ROOT / "docs" / "guide"
LESSON = re.compile(r"\d\d_\w+")
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
HIDDEN = "### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"
SOLUTION = re.compile(rf"^([ \t]*){BEGIN}(?:: *([^\n]*))?\n(.*?)^[ \t]*{END}[^\n]*$", re.M | re.S)
SECRET = re.compile(rf"^[ \t]*{HIDDEN[0]}\n.*?^[ \t]*{HIDDEN[1]}[^\n]*\n?", re.M | re.S)
TASK = re.compile(r"\*Outcomes? ([\d, ]+) · (complete|apply|investigate) · (\d+) points?\*$")
HINT = "Your code here. The hints above lead to it."


def names(args, folder=NBS):
    "Paths of the notebooks of lessons for the names given, or all; exit where there is none."
    every = sorted(p for p in folder.glob("*.ipynb") if LESSON.fullmatch(p.stem))
    found = [p for a in args for p in every if a in (p.stem, p.stem[:2])] if args else every
    if len(found) < len(args):
        sys.exit(f"{folder}: no such notebook among {args}; there are {[p.stem for p in every]}")
    return found


def read(path):
    return nbformat.read(path, 4)


def tags(cell):
    return cell.metadata.get("tags", [])


def points(cell):
    "Points of a cell by its tag, 0 without."
    return sum(int(t.removeprefix("points:")) for t in tags(cell) if t.startswith("points:"))


# ---- editions ---------------------------------------------------------------------------------------------------------
def stub(source):
    "A solution cell as students get it: in the place of the solution an error that says what to do."
    return SOLUTION.sub(lambda m: f"{m[1]}raise NotImplementedError({m[2] or HINT!r})", source)


def solved(source):
    "A solution or test cell without its markers."
    marks = (BEGIN, END, *HIDDEN)
    return "\n".join(line for line in source.split("\n") if not line.strip().startswith(marks))


def graded(source):
    "A solution cell as nbgrader takes it: the hint as a comment before the region."
    return SOLUTION.sub(lambda m: f"{m[1]}# {m[2] or HINT}\n{m[1]}{BEGIN}\n{m[3]}{m[1]}{END}", source)


def kinds(nb):
    "For each cell its kind: 'solution', 'tests', 'answer', 'marking' or ''."
    return [next((k for k in ("solution", "tests", "answer", "marking") if k in tags(c)), "") for c in nb.cells]


def edition(nb, change):
    "A copy of a notebook of exercises, its cells changed by `change(cell, kind)`, which may return None to drop one."
    nb = copy.deepcopy(nb)
    cells = [change(c, k) for c, k in zip(nb.cells, kinds(nb)) if k != "marking"]
    nb.cells = [c for c in cells if c is not None]
    for cell in nb.cells:
        cell.metadata = {k: v for k, v in cell.metadata.items() if k == "nbgrader"}
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nb.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return nb


def student(nb):
    "The students' edition: stubs for solutions, visible tests, no answers."

    def change(cell, kind):
        if kind == "solution":
            cell.source = stub(cell.source)
        elif kind == "tests":
            cell.source = SECRET.sub("", cell.source).rstrip()
        elif kind == "answer":
            cell.source = "*Your answer here.*"
        return cell

    return edition(nb, change)


def solution(nb):
    "The edition with all solutions, all tests and the model answers."

    def change(cell, kind):
        if kind in ("solution", "tests"):
            cell.source = solved(cell.source)
        return cell

    return edition(nb, change)


def assignment(nb):
    "nbgrader's source of an assignment: solutions and hidden tests in regions, cells marked by metadata."
    number = {"solution": 0, "tests": 0, "answer": 0}

    def change(cell, kind):
        if not kind:
            return cell
        number[kind] += 1
        if kind == "solution":
            cell.source = graded(cell.source)
        cell.metadata["nbgrader"] = {
            "schema_version": 3, "cell_type": cell.cell_type, "task": False, "grade_id": f"{kind}-{number[kind]}",
            "solution": kind != "tests", "grade": kind != "solution", "locked": kind == "tests",
        } | ({} if kind == "solution" else {"points": points(cell)})  # fmt: skip
        return cell

    return edition(nb, change)


def build(args):
    "Write the editions of the exercises; returns their paths by name and edition."
    made = {}
    for path in names(args, NBS / "exercises"):
        nb, stem = read(path), path.stem
        places = {"student": (student, BUILD / "student"), "solution": (solution, BUILD / "solution"), "source": (assignment, BUILD / "source" / stem)}
        for kind, (make, folder) in places.items():
            folder.mkdir(parents=True, exist_ok=True)
            nbformat.write(make(nb), folder / path.name)
            made[stem, kind] = folder / path.name
    return made


def secrets(nb):
    "Lines of solutions and hidden tests that students must not find anywhere: those of some length."
    regions = [m[3] for c in nb.cells for m in SOLUTION.finditer(c.source)] + [m[0] for c in nb.cells for m in SECRET.finditer(c.source)]
    lines = {line.strip() for region in regions for line in region.split("\n")}
    return {line for line in lines if len(line) > 12 and not line.startswith("###")}


# ---- trial runs -------------------------------------------------------------------------------------------------------
def run(nb, folder):
    "Run a notebook, errors and all, in a folder; the seconds it took."
    start = time.monotonic()
    client = NotebookClient(nb, timeout=1200, kernel_name="python3", allow_errors=True, resources={"metadata": {"path": str(folder)}})
    client.execute()
    return time.monotonic() - start


def run_here(nb, folder):
    "The error of each cell, or None, when a notebook is run in this process: quicker than a kernel, which imports all anew."
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    main, found, before = sys.modules["__main__"], [], Path.cwd()
    shell = InteractiveShell.instance()  # takes the place of this program's __main__
    shell.reset(new_session=False)
    os.chdir(folder)
    try:
        for cell in nb.cells:
            with capture_output():
                result = shell.run_cell(cell.source, store_history=False) if cell.cell_type == "code" else None
            found.append(result and (result.error_before_exec or result.error_in_exec))
    finally:
        os.chdir(before)
        InteractiveShell.clear_instance()
        sys.modules["__main__"] = main
    return found


def error_of(cell):
    "(name, message) of a cell's error, or None."
    return next(((o.ename, o.evalue) for o in cell.get("outputs", []) if o.output_type == "error"), None)


def assigned(nb):
    "Names that solutions bind: without them later cells end in a NameError."
    found = set()
    for cell, kind in zip(nb.cells, kinds(nb)):
        if kind == "solution":
            found |= {n.id for n in ast.walk(ast.parse(solved(cell.source))) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return found


def try_solution(nb, folder):
    "What fails in the solution edition, and its seconds."
    made = solution(nb)
    seconds = run(made, folder)
    return [f"cell {i}: {e[0]}: {e[1]}" for i, c in enumerate(made.cells) if (e := error_of(c))], seconds


def try_student(nb, folder):
    "What fails in the students' edition where it should not, or does not fail where it should."
    made, wrong, bound = student(nb), [], assigned(nb)
    for i, (cell, kind, error) in enumerate(zip(made.cells, [k for k in kinds(nb) if k != "marking"], run_here(made, folder), strict=True)):
        name, text = type(error).__name__ if error else "", str(error)
        lost = re.search(r"name '(\w+)' is not defined", text)
        if kind == "tests" and not name:
            wrong.append(f"cell {i}: these tests pass although nothing is done")
        elif kind == "tests" and name == "AssertionError":  # the stub gave the name a value for the test to speak of
            continue
        elif name and name != "NotImplementedError" and not (lost and lost[1] in bound):
            wrong.append(f"cell {i}: {name}: {text}")
    return wrong


def try_out(args):
    build(args)
    failed = False
    for path in names(args, NBS / "exercises"):
        nb = read(path)
        wrong, seconds = try_solution(nb, ROOT)
        wrong = [f"solution edition, {w}" for w in wrong] + [f"student edition, {w}" for w in try_student(nb, ROOT)]
        print(f"{path.stem}: {'as it should be' if not wrong else 'WRONG'}; the solutions run in {seconds:.0f} s", *wrong, sep="\n  ")
        failed |= bool(wrong)
    sys.exit(failed)


# ---- the check --------------------------------------------------------------------------------------------------------
FRONT = re.compile(
    r"\*\*After this lesson you can\*\*\n\n(?P<outcomes>(?:\d\. .+\n(?:   .+\n)*)+)\n"
    r"- \*\*Before it:\*\* (?P<before>.+(?:\n  .+)*)\n"
    r"- \*\*Time:\*\* (?P<time>.+(?:\n  .+)*)\n"
    r"- \*\*Data:\*\* (?P<data>.+(?:\n  .+)*)\n"
    r"- \*\*Code:\*\* (?P<code>.+(?:\n  .+)*)$"
)
CLOSING = ["## Key points", "## Common mistakes", "## Check yourself", "## Further reading"]
PLACE = re.compile(r"(?<![\w.])/(?:tmp|root|work|home|Users)/\w|[A-Z]:\\\\?Users")
LONGEST, MOST_OUTPUT = 60, 300_000


def front(nb):
    "The front block of a lesson as a match, or None."
    return next((FRONT.fullmatch(c.source.strip()) for c in nb.cells if "front" in tags(c)), None)


def outcomes(nb):
    "The outcomes of a lesson, by number."
    found = front(nb)
    return {int(n): text.strip() for n, text in re.findall(r"^(\d)\. (.+(?:\n   .+)*)", found["outcomes"], re.M)} if found else {}


def minutes(nb):
    "Minutes for reading and for the exercises, as the front block tells."
    found = front(nb)
    numbers = re.search(r"(\d+) minutes? to read.*?(\d+) minutes? for the \[exercises\]", found["time"], re.S) if found else None
    return (int(numbers[1]), int(numbers[2])) if numbers else None


def is_single(source):
    "Whether a cell holds one definition only, which cannot be split."
    return sum(not isinstance(n, (ast.Import, ast.ImportFrom)) for n in ast.parse(re.sub(r"^[%!].*$", "", source, flags=re.M)).body) == 1


def check_cells(nb):
    "What is wrong with the cells of any notebook of ours."
    for i, c in enumerate(nb.cells):
        lines = c.source.split("\n")
        if c.cell_type == "markdown":
            prose = re.sub(r"^```.*?^```", "", c.source, flags=re.M | re.S)
            heads = re.findall(r"^#{1,6} ", prose, re.M)
            if heads and i and (len(heads) > 1 or len(lines) > 1):
                yield f"cell {i}: a heading stands in a cell of its own: {lines[0][:50]}"
            for alt, target in re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", prose):
                if not alt.strip():
                    yield f"cell {i}: the picture {target} has no alt text"
            if re.search(r"<img(?![^>]*alt=\"[^\"]+\")", prose):
                yield f"cell {i}: a picture has no alt text"
        elif c.cell_type == "code":
            if len(lines) > LONGEST and not is_single(c.source):
                yield f"cell {i}: {len(lines)} lines; split it (at most {LONGEST}, unless it is one definition)"
            if any(k.startswith("image/") for o in c.outputs for k in o.get("data", {})) and "#| fig-alt: " not in c.source:
                yield f"cell {i}: its picture has no `#| fig-alt:`"
            if (size := len(json.dumps(c.outputs))) > MOST_OUTPUT:
                yield f"cell {i}: an output of {size // 1000} kB (at most {MOST_OUTPUT // 1000})"
        if found := PLACE.search(c.source + json.dumps([o for o in c.get("outputs", []) if "image/png" not in o.get("data", {})])):
            yield f"cell {i}: the path of somebody's machine: {found[0]}"


def check_lesson(nb, stem):
    "What is wrong with the form of a lesson."
    yield from check_cells(nb)
    if not re.fullmatch(r"# \S.*\n\n> \S.*", nb.cells[0].source):
        yield "cell 0: `# Title`, an empty line, `> one sentence`, and nothing else"
    found = front(nb)
    if not found:
        yield "no cell with the tag `front` in the agreed form"
        return
    if not 3 <= len(outcomes(nb)) <= 6 or list(outcomes(nb)) != list(range(1, len(outcomes(nb)) + 1)):
        yield f"{len(outcomes(nb))} outcomes; 3 to 6, numbered from 1"
    if not minutes(nb):
        yield "the front block's Time does not say `N minutes to read, M minutes for the [exercises](...)`"
    texts = [c.source.strip() for c in nb.cells if c.cell_type == "markdown"]
    places = [texts.index(h) if h in texts else -1 for h in CLOSING]
    if -1 in places or places != sorted(places):
        yield f"it does not close with {', '.join(CLOSING)}, in this order"
    if not texts[-1].startswith("**Next:** "):
        yield "its last cell does not begin with `**Next:** `"
    if not any(t.startswith("**Before you run it:** ") for t in texts):
        yield "nowhere does it ask the reader `**Before you run it:** `"
    if not any(f'Quiz("quizzes/{stem}.json")' in c.source for c in nb.cells):
        yield f'no cell with Quiz("quizzes/{stem}.json")'
    starts = sum(c.metadata.get("slideshow", {}).get("slide_type") == "slide" for c in nb.cells)
    if starts < 4:
        yield f"{starts} slides; tag cells with slideshow metadata"


def exercises(nb):
    "Exercises in order: heading, outcomes, level, points told, points of the cells."
    found = []
    for cell in nb.cells:
        head = re.fullmatch(r"## Exercise (\d+): (.+)", cell.source.strip()) if cell.cell_type == "markdown" else None
        task = TASK.match(cell.source.split("\n")[0]) if cell.cell_type == "markdown" else None
        if head:
            found.append({"number": int(head[1]), "title": head[2], "outcomes": [], "level": "", "told": 0, "points": 0, "by_hand": 0, "marking": []})
        elif task and found:
            found[-1] |= {"outcomes": [int(k) for k in task[1].split(",")], "level": task[2], "told": int(task[3])}
        elif found:
            found[-1]["points"] += points(cell)
            found[-1]["by_hand"] += points(cell) if "answer" in tags(cell) else 0
            if "marking" in tags(cell):
                found[-1]["marking"].append(cell.source)
    return found


def check_exercises(nb, known):
    "What is wrong with the form of a notebook of exercises, of a lesson with the `known` outcomes."
    yield from check_cells(nb)
    if not re.fullmatch(r"# Exercises: \S.*\n\n> \S.*", nb.cells[0].source):
        yield "cell 0: `# Exercises: Title`, an empty line, `> one sentence`"
    found = exercises(nb)
    if not 3 <= len(found) <= 6 or [e["number"] for e in found] != list(range(1, len(found) + 1)):
        yield f"exercises {[e['number'] for e in found]}; 3 to 6, numbered from 1"
    for e in found:
        where = f"exercise {e['number']}"
        if not e["level"]:
            yield f"{where}: its task does not begin with `*Outcome 1 · complete · 2 points*`"
        elif e["told"] != e["points"]:
            yield f"{where}: {e['told']} points told, {e['points']} given by its cells"
        if unknown := set(e["outcomes"]) - set(known):
            yield f"{where}: the lesson has no outcome {unknown}"
    for i, (cell, kind) in enumerate(zip(nb.cells, kinds(nb))):
        if kind == "solution" and (len(SOLUTION.findall(cell.source)) != 1 or cell.source.count(BEGIN) != 1):
            yield f"cell {i}: a solution cell holds one region {BEGIN} ... {END}"
        if kind == "tests" and (len(SECRET.findall(cell.source)) != 1 or not SECRET.sub("", cell.source).strip()):
            yield f"cell {i}: a test cell holds visible tests and one region {HIDDEN[0]}"
        if kind in ("tests", "answer") and not points(cell):
            yield f"cell {i}: no tag `points:N`"
        if kind == "answer" and "marking" not in tags(nb.cells[min(i + 1, len(nb.cells) - 1)]):
            yield f"cell {i}: after a model answer comes a cell tagged `marking`"
        if cell.cell_type == "code" and (cell.outputs or cell.execution_count):
            yield f"cell {i}: outputs; exercises are committed without"
        if kind != "solution" and BEGIN in cell.source or kind != "tests" and HIDDEN[0] in cell.source:
            yield f"cell {i}: a region in a cell without the tag `solution` or `tests`"


def check_quiz(quiz, known):
    "What is wrong with the form of a quiz (jupyterquiz's, with `outcome`)."
    if not 5 <= len(quiz) <= 8:
        yield f"{len(quiz)} questions; 5 to 8"
    for n, q in enumerate(quiz, 1):
        where, answers = f"question {n}", q.get("answers", [])
        if not {"question", "type", "outcome", "answers"} == set(q) or not str(q.get("question", "")).strip():
            yield f"{where}: its keys are question, type, outcome, answers"
        if q.get("outcome") not in known:
            yield f"{where}: the lesson has no outcome {q.get('outcome')}"
        if any(not a.get("feedback", "").strip() for a in answers):
            yield f"{where}: an answer without feedback"
        right = sum(bool(a.get("correct")) for a in answers)
        texts = [re.sub(r"`[^`]*`", "", t) for t in [q.get("question", "")] + [t for a in answers for t in (str(a.get("answer", "")), a.get("feedback", ""))]]
        if any(re.search(r"<[a-zA-Z/]|\$|\\\(|\*\*", t) for t in texts):
            yield f"{where}: plain text only, no HTML, LaTeX or Markdown"
        if q.get("type") == "numeric":
            if right < 1 or not answers or answers[-1].get("type") != "default":
                yield f"{where}: a numeric question has a right value or range, and a default at the end"
            if any(a.get("type") not in ("value", "range", "default") or a["type"] != "default" and a["type"] not in a for a in answers):
                yield f"{where}: each answer is a value, a range or the default"
        elif q.get("type") in ("multiple_choice", "many_choice"):
            choices = [a.get("answer") for a in answers]
            if not 3 <= len(choices) <= 6 or len(set(choices)) < len(choices) or not all(isinstance(c, str) and c.strip() for c in choices):
                yield f"{where}: 3 to 6 different choices"
            if right < 1 or q["type"] == "multiple_choice" and right != 1:
                yield f"{where}: {right} right answers"
        else:
            yield f"{where}: its type is multiple_choice, many_choice or numeric"


def problems(stem):
    "All that is wrong with a lesson, its exercises and its quiz."
    nb = read(NBS / f"{stem}.ipynb")
    yield from (f"nbs/{stem}.ipynb: {w}" for w in check_lesson(nb, stem))
    known, used = outcomes(nb), set()
    for path, checks in (NBS / "exercises" / f"{stem}.ipynb", check_exercises), (NBS / "quizzes" / f"{stem}.json", check_quiz):
        shown = path.relative_to(ROOT).as_posix()
        if not path.exists():
            yield f"{shown}: is missing"
            continue
        found = read(path) if path.suffix == ".ipynb" else json.loads(path.read_text(encoding="utf-8"))
        yield from (f"{shown}: {w}" for w in checks(found, known))
        used |= {q.get("outcome") for q in found} if checks is check_quiz else {k for e in exercises(found) for k in e["outcomes"]}
    if rest := sorted(set(known) - used):
        yield f"nbs/{stem}.ipynb: outcomes {rest} are practised by no exercise and no question"


def check(args):
    found = [p for path in names(args) for p in problems(path.stem)]
    if found:
        sys.exit("\n".join(found))


# ---- generated pages --------------------------------------------------------------------------------------------------
MADE = "<!-- Made by `python tools/course.py {}`: do not edit. -->\n\n"


def outcome_page():
    "Markdown: each outcome with the exercises and questions that practise it."
    lines = [MADE.format("pages") + "# Outcomes", "", "What a student can do after each lesson, and where it is practised and tested.", ""]
    for path in names([]):
        nb, stem = read(path), path.stem
        done = exercises(read(NBS / "exercises" / path.name))
        quiz = json.loads((NBS / "quizzes" / f"{stem}.json").read_text(encoding="utf-8"))
        title = nb.cells[0].source.split("\n")[0].removeprefix("# ")
        lines += [f"## {stem[:2]} {title}", "", f"[lesson](../../nbs/{stem}.ipynb), [exercises](../../nbs/exercises/{stem}.ipynb)", "",
                  "| outcome | you can | exercises | questions |", "|---|---|---|---|"]  # fmt: skip
        for k, text in outcomes(nb).items():
            its = ", ".join(f"{e['number']} ({e['level']}, {e['points']} p.)" for e in done if k in e["outcomes"])
            asked = ", ".join(str(n) for n, q in enumerate(quiz, 1) if q["outcome"] == k)
            lines.append(f"| {stem[:2]}.{k} | {' '.join(text.split()).rstrip(';.').replace('|', chr(92) + '|')} | {its or 'none'} | {asked or 'none'} |")
        lines.append("")
    return "\n".join(lines)


def marking_page():
    "Markdown: the marking guide of each open question."
    lines = [MADE.format("pages") + "# Marking guides", "", "For each open question: what earns each point. How to use them: [marking](marking.md). "
             "The questions and a model answer to each stand in the solution edition, `build/exercises/solution`. Where a part of the points is given by tests, the heading says so.", ""]  # fmt: skip
    for path in names([], NBS / "exercises"):
        open_ones = [e for e in exercises(read(path)) if e["marking"]]
        if open_ones:
            lines += [f"## {path.stem[:2]} {path.stem[3:].replace('_', ' ').capitalize()}", ""]
        for e in open_ones:
            tested = f" by hand, {e['points'] - e['by_hand']} by tests" if e["by_hand"] < e["points"] else ""
            lines += [f"### {path.stem[:2]}, exercise {e['number']}: {e['title']} ({e['by_hand']} points{tested})", "", "\n\n".join(e["marking"]), ""]
    return "\n".join(lines)


PAGES = {"outcomes.md": outcome_page, "marking_guides.md": marking_page}


def pages(_):
    for name, make in PAGES.items():
        (GUIDE / name).write_text(make().rstrip() + "\n", encoding="utf-8")


def times(args):
    "Run the lessons, one after the other, and write how long each took."
    kept = json.loads(TIMES.read_text(encoding="utf-8")) if TIMES.exists() else {"cores": os.cpu_count(), "lessons": {}}
    if kept["cores"] != os.cpu_count():
        sys.exit(f"the times were measured on {kept['cores']} cores, this machine has {os.cpu_count()}: delete {TIMES.name} and measure all.")
    if os.environ.get("DEEPSLIDE_FAST"):
        sys.exit("DEEPSLIDE_FAST is set: these would not be the times of a student.")
    for path in names(args):
        nb, load = read(path), psutil.cpu_percent(3) / 100 * os.cpu_count()
        seconds = run(nb, NBS)
        if wrong := [e for c in nb.cells if (e := error_of(c))]:
            sys.exit(f"{path.stem}: {wrong[0]}")
        kept["lessons"][path.stem] = {"seconds": round(seconds), "date": date.today().isoformat(), "load": round(load, 1)}
        print(path.stem, round(seconds), "s", flush=True)
        TIMES.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        (ROOT / "docs" / "run_times.md").write_text(time_page(kept), encoding="utf-8")


TIMES = ROOT / "docs" / "run_times.json"


def time_page(kept):
    "Markdown: minutes told by the lessons, seconds measured."
    lines = [MADE.format("times") + "# Run times", "",
             f"How long each lesson takes. Reading and exercises are estimates of the authors, told in the lessons. The run was measured: all cells "
             f"from a fresh kernel on {kept['cores']} cores without a GPU, what is made once and kept (slides, classifiers) made before: whoever runs a lesson that needs a classifier for the first time waits some nine minutes more, and sees a progress bar. "
             "Other load is how many cores other programs kept busy in the seconds before: at 0 the figure holds for an idle laptop, at 2 it is up to twice too high.", "",
             "| lesson | reading, minutes | exercises, minutes | run, seconds | other load | measured |", "|---|--:|--:|--:|--:|---|"]  # fmt: skip
    told = {p.stem: minutes(read(p)) or ("", "") for p in names([])}
    for stem, (reading, doing) in told.items():
        one = kept["lessons"].get(stem)
        measured = f"{one['seconds']} | {one['load']:.1f} | {one['date'].replace('-', chr(0x2011))}" if one else "| | not measured yet"
        lines.append(f"| [{stem}](../nbs/{stem}.ipynb) | {reading} | {doing} | {measured} |")
    total = sum(t[0] for t in told.values() if t[0]), sum(t[1] for t in told.values() if t[1]), sum(o["seconds"] for o in kept["lessons"].values())
    return "\n".join([*lines, f"| all | {total[0]} | {total[1]} | {total[2]} | | |"]) + "\n"


if __name__ == "__main__":
    verbs = {"build": build, "try": try_out, "check": check, "times": times, "pages": pages}
    if len(sys.argv) < 2 or sys.argv[1] not in verbs:
        sys.exit(__doc__)
    if made := verbs[sys.argv[1]](sys.argv[2:]):
        print(f"{len(made)} notebooks in {BUILD}: student, solution, source")

"The course: form of lessons, exercises and quizzes; editions of the exercises, run; grading from release to feedback."
import ast
import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import course  # noqa: E402
import nb as lessons  # noqa: E402

LESSONS = [p.stem for p in course.names([])]
EXERCISES = course.names([], course.NBS / "exercises")


@pytest.mark.parametrize("stem", LESSONS)
def test_form(stem):
    "Front block, outcomes that are practised, closing sections, alt texts, cell lengths, exercises and quiz in form."
    assert not list(course.problems(stem))


def test_check_finds_what_is_wrong():
    "The check can fail: a lesson of the course, spoiled in several ways."
    good = course.read(course.NBS / "03_tissue.ipynb")

    def faults(spoil):
        nb = copy.deepcopy(good)
        spoil(nb)
        return " ".join(course.check_lesson(nb, "03_tissue"))

    assert not faults(lambda nb: None)
    assert "front" in faults(lambda nb: next(c for c in nb.cells if "front" in course.tags(c)).metadata.clear())
    assert "own" in faults(lambda nb: nb.cells[4].update(cell_type="markdown", source="## Two\n\nlines"))
    assert "alt text" in faults(lambda nb: nb.cells[1].update(source="![](x.png)"))
    assert "somebody's machine" in faults(lambda nb: nb.cells[1].update(source="see " + "/ho" + "me/ann/slides"))
    assert "close" in faults(lambda nb: nb.cells.remove(next(c for c in nb.cells if c.source == "## Further reading")))
    shown = next(c for c in good.cells if "fig-alt" in c.source)
    assert "fig-alt" in faults(lambda nb: nb.cells[good.cells.index(shown)].update(source="1"))
    long = "\n".join(["a = 1"] * 61)
    assert "61 lines" in faults(lambda nb: nb.cells.append(nbformat.v4.new_code_cell(long)))


@pytest.mark.parametrize("path", EXERCISES, ids=lambda p: p.stem)
def test_editions(path):
    "A stub equals its solution up to the removed part, and nothing of a solution or a hidden test is in what students get."
    nb = course.read(path)
    kinds = [k for k in course.kinds(nb) if k != "marking"]
    source = [c for c, k in zip(nb.cells, course.kinds(nb)) if k != "marking"]
    for cell, student, solved, kind in zip(source, course.student(nb).cells, course.solution(nb).cells, kinds, strict=True):
        if kind == "solution":
            before, _, after = cell.source.partition(course.BEGIN)
            body, _, after = after.partition(course.END)
            after = after.partition("\n")[2]
            head, raised, rest = student.source.partition("raise NotImplementedError(")
            assert raised and head == before and rest.partition("\n")[2] == after
            ast.parse(student.source)
            body = body.partition("\n")[2].rstrip().removesuffix("\n").rstrip()
            assert solved.source.replace(body, "", 1).split() == (before + after).split()
            lines = {line.strip() for line in body.split("\n") if len(line.strip()) > 12}
            given = {line.strip() for line in (before + after).split("\n")}  # a line may stand in what is given too
            assert not (lines - given) & {line.strip() for line in student.source.split("\n")}
        elif kind == "tests":
            hidden = cell.source.partition(course.HIDDEN[0])[2].partition(course.HIDDEN[1])[0].strip()
            assert hidden and hidden not in student.source and hidden in solved.source
            visible = cell.source.partition(course.HIDDEN[0])[0] + cell.source.partition(course.HIDDEN[1])[2]
            assert student.source.strip() and student.source.split() == visible.split()
        elif kind == "answer":
            assert student.source == "*Your answer here.*"
        else:
            assert student.source == cell.source == solved.source
        assert "tags" not in student.metadata


@pytest.mark.parametrize("path", EXERCISES, ids=lambda p: p.stem)
def test_exercises_run(path, monkeypatch, tmp_path):
    "The solution edition passes whole; the student edition fails only where something is left to do."
    monkeypatch.setenv("DEEPSLIDE_FAST", "1")
    monkeypatch.setenv("MPLBACKEND", "agg")
    nb = course.read(path)
    assert not list(filter(None, course.run_here(course.solution(nb), tmp_path)))
    assert not course.try_student(nb, tmp_path)


def test_generated_pages_are_in_step():
    "docs/guide/outcomes.md and marking_guides.md are what `python tools/course.py pages` writes."
    for name, make in course.PAGES.items():
        assert (course.GUIDE / name).read_text(encoding="utf-8") == make().rstrip() + "\n", "run `python tools/course.py pages`"


def test_run_times_are_in_step():
    "Every lesson was measured, and docs/run_times.md is made of the measured times."
    kept = json.loads(course.TIMES.read_text(encoding="utf-8"))
    assert set(kept["lessons"]) == set(LESSONS), "run `python tools/course.py times NAME`"
    written = (ROOT / "docs" / "run_times.md").read_text(encoding="utf-8")
    assert written == course.time_page(kept)


def test_grading(tmp_path):
    "`make grade-demo`: release to feedback for four synthetic students, of whom one is slow and one crashes."
    pytest.importorskip("nbgrader") if not os.environ.get("CI") else __import__("nbgrader")
    done = subprocess.run([sys.executable, ROOT / "tools" / "grade_demo.py", tmp_path / "demo"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    page = (tmp_path / "demo/feedback/mistakes/22_quiz/22_quiz.html").read_text(encoding="utf-8")
    assert "Score: 3.0 / 12.0" in page


def test_static_text_of_a_quiz_is_kept():
    "Of a widget's output only what it leaves for readers is kept: a progress bar leaves nothing, a quiz its questions."
    widget = {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "tiles: 0%"}
    outputs = [nbformat.v4.new_output("display_data", data=dict(widget), metadata=about) for about in ({}, {"keep_text": True})]
    made = lessons.slim(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("q", outputs=[o]) for o in outputs]))
    assert [len(c.outputs) for c in made.cells] == [0, 1]

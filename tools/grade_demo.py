"""The whole way of grading with nbgrader, headless, on synthetic submissions; `make grade-demo`.

    python tools/grade_demo.py [FOLDER]      FOLDER (build/grade-demo) is made anew

Four made-up students hand in the exercises of lesson 22: one has everything right; one has a known mistake that only the hidden
tests find, and left one cell as it was; one ends in an endless loop; one kills the Python that runs the notebook. The
grades that come out are compared with those that must come out; exit 1 where they differ."""
import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import course  # noqa: E402

NAME, LIMIT = "22_quiz", 20  # the assignment; seconds a cell may take
CONFIG = f"""c = get_config()
c.CourseDirectory.course_id = "deepslide"
c.Exchange.root = "exchange"
c.ExecutePreprocessor.timeout = {LIMIT}  # seconds a cell
c.OverwriteCells.add_missing_cells = True  # a test that a student deleted is put back
c.ZipCollectApp.strict = True
c.FileNameCollectorPlugin.named_regexp = r".*[\\\\/](?P<student_id>[^\\\\/_]+)_(?P<file_id>\\d\\d_\\w+)\\.ipynb"
"""
MISTAKE = "    right, given = {a['answer'] for a in question['answers'] if a['correct']}, set(given)\n    return len(right & given) / len(right)"
STUDENTS = {  # what each does to the released notebook, and the points of the three graded exercises that it must get
    "good": ({}, [3, 3, 3]),
    "mistakes": ({"credit": MISTAKE, "hardest": None}, [3, 0, 0]),  # forgets wrong ticks; leaves the last one
    "slow": ({"hardest": "    while True:\n        pass"}, [3, 3, 0]),
    "crashing": ({"hardest": "    import os\n    os._exit(1)"}, None),  # no points without a look: see docs/guide/grading.md
}


def hand_in(released, solved, changes):
    "A released notebook filled in from the solution edition, some functions differently (None: left as released)."
    nb = nbformat.read(released, 4)
    for cell, answer in zip(nb.cells, solved.cells, strict=True):
        about = cell.metadata.get("nbgrader", {})
        if not about.get("solution"):
            continue
        name = next((n for n in changes if f"def {n}(" in cell.source), None)
        if name is None:
            cell.source = answer.source
        elif changes[name]:
            head = cell.source.split("\n    # ")[0]
            cell.source = f"{head}\n{changes[name]}"
    return nb


def nbgrader(folder, *arguments, fine=(0,)):
    "Run a command of nbgrader in the course folder; its log is kept in FOLDER/log.txt."
    env = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]), "OMP_NUM_THREADS": "1"}
    print("nbgrader", *arguments, flush=True)
    done = subprocess.run([sys.executable, "-m", "nbgrader", *arguments], cwd=folder, env=env, capture_output=True, text=True)
    with (folder / "log.txt").open("a", encoding="utf-8") as log:
        log.write(f"$ nbgrader {' '.join(arguments)}\n{done.stdout}{done.stderr}\n")
    if done.returncode not in fine:
        sys.exit(f"nbgrader {arguments[0]} failed: {done.stderr[-1500:]}\nThe whole log: {folder / 'log.txt'}")


def demo(folder):
    "From the source to grades and feedback; the points by student."
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "exchange").mkdir(parents=True)
    (folder / "exchange").chmod(0o777)
    (folder / "nbgrader_config.py").write_text(CONFIG, encoding="utf-8")
    with (folder / "students.csv").open("w", encoding="utf-8") as f:
        f.write("id,last_name,first_name\n" + "".join(f"{s},Synthetic,{s.capitalize()}\n" for s in STUDENTS))
    course.build([NAME])
    shutil.copytree(course.BUILD / "source" / NAME, folder / "source" / NAME)

    nbgrader(folder, "db", "student", "import", "students.csv")
    nbgrader(folder, "generate_assignment", NAME)
    if os.name == "posix":  # the exchange folder does not work on Windows; there the release is uploaded somewhere
        nbgrader(folder, "release_assignment", NAME)
    released = folder / "release" / NAME / f"{NAME}.ipynb"
    source = course.read(course.NBS / "exercises" / f"{NAME}.ipynb")
    solved, text = course.solution(source), released.read_text(encoding="utf-8")
    told = "\n".join(c.source for c in course.student(source).cells)  # a line may also stand in what is given
    if leaked := [line for line in course.secrets(source) if line not in told and json.dumps(line)[1:-1] in text]:
        sys.exit(f"{released}: the release holds solutions or hidden tests: {leaked[0]}")
    archive = folder / "downloaded" / NAME / "archive"  # as a learning platform gives them
    archive.mkdir(parents=True)
    for name, (changes, _) in STUDENTS.items():
        nbformat.write(hand_in(released, solved, changes), archive / f"{name}_{NAME}.ipynb")
    nbgrader(folder, "zip_collect", NAME)
    nbgrader(folder, "autograde", NAME, fine=(0, 1))  # 1: some could not be graded; the others are
    nbgrader(folder, "generate_feedback", NAME, fine=(0, 1))
    nbgrader(folder, "export", "--to", "grades.csv")
    return points(folder)


def points(folder):
    "Points of each test cell by student, None where nothing could be graded."
    from nbgrader.api import Gradebook, MissingEntry

    found = {}
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as book:
        for name in STUDENTS:
            try:
                cells = book.find_submission_notebook(NAME, NAME, name).grades
                graded = (folder / "autograded" / name / NAME / f"{NAME}.ipynb").exists()
                found[name] = [g.auto_score for g in sorted(cells, key=lambda g: g.name) if g.name.startswith("tests")] if graded else None
            except MissingEntry:
                found[name] = None
    return found


def main(folder):
    found, wrong = demo(folder), []
    with (folder / "grades.csv").open(encoding="utf-8") as f:
        total = {row["student_id"]: row["score"] for row in csv.DictReader(f)}
    print(f"\n{'student':10} {'points of the tests':22} {'in grades.csv':14} feedback")
    for name, (_, expected) in STUDENTS.items():
        page = folder / "feedback" / name / NAME / f"{NAME}.html"
        print(f"{name:10} {str(found[name]):22} {total.get(name, 'none'):14} {page.relative_to(folder) if page.exists() else 'none: look at the log'}")
        if found[name] != expected or page.exists() != (expected is not None):
            wrong.append(f"{name}: {found[name]} where {expected} was to be expected")
    print("\nOpen answers have no points yet: a teacher gives them, see docs/guide/marking.md.")
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"All as it must be. The course folder: {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "grade-demo").resolve())

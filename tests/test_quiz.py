"The quiz: what it refuses, what it counts, and a student who answers it in JupyterLab by mouse and by keyboard."
import json
from pathlib import Path

import lab
import pytest

from deepslide_nb.quiz import Quiz, judge, read_quiz
from deepslide_nb.settings import InputError

ROOT = Path(__file__).resolve().parent.parent
QUIZZES = sorted((ROOT / "nbs" / "quizzes").glob("*.json"))
ONE = {"question": "Is <b>glass</b> tissue?", "type": "multiple_choice",
       "answers": [{"answer": "yes", "correct": False, "feedback": "Glass is what tissue lies on."},
                   {"answer": "no", "correct": True, "feedback": "It is what <i>holds</i> it."}]}  # fmt: skip
MANY = {"question": "Which are dyes?", "type": "many_choice",
        "answers": [{"answer": "eosin", "correct": True, "feedback": "It is pink."}, {"answer": "number", "correct": True, "feedback": "A name like a control's."},
                    {"answer": "check", "correct": False, "feedback": "A name like a button's."}]}  # fmt: skip
NUMBER = {"question": "Microns along 10 pixels of 0.5 mpp?", "type": "numeric",
          "answers": [{"type": "value", "value": 5, "correct": True, "feedback": "10 x 0.5"}, {"type": "range", "range": [15, 25], "correct": False, "feedback": "Divided."},
                      {"type": "default", "feedback": "Multiply."}]}  # fmt: skip


@pytest.mark.parametrize("path", QUIZZES, ids=lambda p: p.stem)
def test_right_answers_solve_each_quiz(path):
    "Every quiz of the course: all right answers give the full score, each wrong one none."
    with Quiz(path) as quiz:
        for n, q in enumerate(quiz.questions, 1):
            quiz.number = n
            answers = q["answers"]
            if q["type"] == "numeric":
                given = [next(a["value"] if a["type"] == "value" else sum(a["range"]) / 2 for a in answers if a.get("correct"))]
                wrong = [a["value"] for a in answers if a["type"] == "value" and not a.get("correct")]
            else:
                right = [a["answer"] for a in answers if a.get("correct")]
                given = [right[0] if q["type"] == "multiple_choice" else right]
                wrong = [a["answer"] for a in answers if not a.get("correct")]
            assert not any(judge(q, w)[0] for w in wrong)
            assert all(quiz.answer(g) for g in given)
            assert not quiz.error
        assert quiz.score == f"{n} of {n} right at the first try, {n} solved"


@pytest.mark.parametrize(
    "text, says",
    [("[", "not JSON"), ("[]", "holds none"), ("{}", "holds none"), ('["a"]', "question 1: it has no text"), (json.dumps([ONE, {**ONE, "type": "x"}]), "question 2: its type"),
     (json.dumps([{**NUMBER, "answers": NUMBER["answers"][:2]}]), "not the default"), (json.dumps([{**ONE, "answers": [1, 2]}]), "fewer than two")],
)  # fmt: skip
def test_refuses(tmp_path, text, says):
    (tmp_path / "quiz.json").write_text(text)
    with pytest.raises(InputError, match=says):
        read_quiz(tmp_path / "quiz.json")


def test_choices_may_have_any_name():
    with Quiz([MANY]) as quiz:
        quiz.widget.set(**{"choice 0": True, "choice 1": True})
        quiz.widget.press("check")
        assert quiz.results.solved.all() and not quiz.error


def test_in_jupyterlab(chromium, tmp_path):
    lab.write_notebook(tmp_path / "n.ipynb", [f"from deepslide_nb.quiz import Quiz\nquiz = Quiz({[ONE, MANY, NUMBER]!r})\nquiz"])
    with lab.jupyterlab(tmp_path) as address, lab.chromium(chromium) as page:
        lab.open_notebook(page, address, "n.ipynb")
        root = page.locator(".dsnb-panel")
        root.wait_for(timeout=60000)
        tell = lambda code: lab.in_kernel(page, code)  # noqa: E731
        root.get_by_text("Is <b>glass</b> tissue?").wait_for()
        lab.check_accessible(page, ".dsnb-panel")
        root.get_by_role("row", name="yes").click()
        root.get_by_text("Glass is what").wait_for()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        root.get_by_text("It is what <i>holds</i> it.").wait_for()
        lab.wait_for(lambda: tell("print(quiz.score)") == "0 of 3 right at the first try, 1 solved", 30, "the score")
        lab.keep_shot(page, tmp_path, "quiz_choice")
        root.get_by_role("button", name="Next question").click()
        root.get_by_role("checkbox", name="eosin").check()
        root.get_by_role("checkbox", name="number").focus()
        page.keyboard.press("Space")
        root.get_by_role("button", name="Check the answer").click()
        root.get_by_text("It is pink.").wait_for()
        lab.check_accessible(page, ".dsnb-panel")
        lab.keep_shot(page, tmp_path, "quiz_many")
        root.get_by_role("button", name="Next question").click()
        root.get_by_label("Your number").fill("20")
        page.keyboard.press("Enter")
        root.get_by_role("button", name="Check the answer").click()
        root.get_by_text("20 is wrong: Divided.").wait_for()
        lab.wait_for(lambda: tell("print(quiz.results.tries.tolist(), quiz.results['first'].tolist())") == "[2, 1, 1] [False, True, False]", 30, "the tries")
        lab.keep_shot(page, tmp_path, "quiz_number")
        assert not [t for t in page.said if "dsnb" in t or "anywidget" in t], page.said

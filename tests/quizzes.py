"The quizzes' right answers, for the tests that compute them."
import json
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "nbs" / "quizzes"


def right(
    lesson: str,  # such as 03_tissue
    number: int,  # of the question, from 1
) -> list:  # texts of the right choices; right values, or [low, high] of right ranges
    question = json.loads((FOLDER / f"{lesson}.json").read_text(encoding="utf-8"))[number - 1]
    return [a[a.get("type", "answer")] for a in question["answers"] if a.get("correct")]

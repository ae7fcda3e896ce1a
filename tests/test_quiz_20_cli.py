"The quiz of lesson 20: answers that can be computed."
import errno
from pathlib import Path
from typing import Annotated

import typer
from quizzes import right
from typer.testing import CliRunner

from deepslide_nb import cli


def code(*words, app=cli.app):
    return CliRunner().invoke(app, [str(w) for w in words]).exit_code


def test_command_for_a_new_slide():  # question 1
    words = right("20_cli", 1)[0].strip("`").split()
    assert words[0] == "deepslide-nb"
    given = typer.main.get_command(cli.app).commands[words[1]].make_context(words[1], words[2:]).params
    assert (words[1], given["model"], given["slides"]) == ("predict", Path("runs/first"), Path("new.svs"))


def test_exit_codes(tmp_path):  # questions 2 and 3
    assert right("20_cli", 2) == [code("check", tmp_path / "gone.csv")]
    assert right("20_cli", 3) == [code("run", "slides.csv", "--out", tmp_path / "new", "--set", "epochs")]


def test_full_disks():  # question 4
    caused = ValueError("could not save")
    caused.__cause__ = OSError(errno.ENOSPC, "")
    errors = {"an `OSError`": OSError(errno.ENOSPC, ""), "`write failed": RuntimeError("write failed: No space left on device"), "raised from": caused,
              "EACCES": PermissionError(errno.EACCES, ""), "CUDA": RuntimeError("CUDA out of memory")}  # fmt: skip
    full = [name for name, error in errors.items() if cli.full_disk(error)]
    assert len(full) == len(right("20_cli", 4)) and all(name in text for name, text in zip(full, right("20_cli", 4)))


def test_sentence_for_a_full_disk(tmp_path):  # question 5
    said = cli.sentence(OSError(errno.ENOSPC, "No space left on device"), tmp_path)
    for part in ("the disk is full", "do not suffice", "--resume"):
        assert part in said and part in right("20_cli", 5)[0]


def test_a_type_that_does_not_fit():  # question 6
    app, called = typer.Typer(), []

    @app.command()
    def count(slides: Annotated[Path, typer.Argument()], least: Annotated[int, typer.Option()] = 1):
        called.append(least)

    assert f"exit code {code('slides.csv', '--least', 'many', app=app)}" in right("20_cli", 6)[0] and not called


def test_gpu_is_not_needed():  # question 8
    (needed,) = [row[-1] for row in cli.PROBES if row[0] == "GPU"]
    assert not needed and "nothing that the course needs is missing" in right("20_cli", 8)[0]

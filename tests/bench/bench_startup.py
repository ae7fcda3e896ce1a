"""How long things take to start: imports and the command line's help, each in a fresh process.

    python tests/bench/bench_startup.py

Wall seconds, median of 7 after one start that is not counted (it compiles the modules and fills the disk cache); the
kinds take turns, so that a busy minute hurts all alike. Ends with exit code 1 when a budget is passed, or when the
modules that cut slides into tiles bring PyTorch or fastai along."""

import statistics
import subprocess
import sys
import time

REPEATS = 7
CLI = "from deepslide_nb.cli import app; app(prog_name='deepslide-nb')"
LIGHT = "; import sys; assert not {'torch', 'fastai'} & set(sys.modules), 'PyTorch or fastai came along'"
KINDS = {  # the name: (arguments of Python, budget in seconds)
    "python -c pass": (["pass"], None),
    "import torch": (["import torch"], None),
    "import deepslide_nb.slides": (["import deepslide_nb.slides" + LIGHT], None),
    "import deepslide_nb.tiles": (["import deepslide_nb.tiles" + LIGHT], 1.5),
    "deepslide-nb --help": ([CLI, "--help"], 1.0),
    "deepslide-nb doctor --help": ([CLI, "doctor", "--help"], None),
}


def start(arguments: list[str]) -> float:
    "Seconds from the start of a Python to its end; raises when it fails."
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin


if __name__ == "__main__":
    for arguments, _ in KINDS.values():
        start(arguments)
    turns = [{name: start(arguments) for name, (arguments, _) in KINDS.items()} for _ in range(REPEATS)]
    took = {name: [turn[name] for turn in turns] for name in KINDS}
    median = {name: statistics.median(times) for name, times in took.items()}
    print(f"{'':28}{'median':>8}{'least':>8}{'most':>8}{'budget':>8}   seconds")
    for name, (_, budget) in KINDS.items():
        print(f"{name:28}{median[name]:8.2f}{min(took[name]):8.2f}{max(took[name]):8.2f}{budget or '':>8}")
    late = []
    for name, (_, budget) in KINDS.items():
        if budget:
            print(f"ratio {name} / its budget of {budget} s {median[name] / budget:.2f}")
            late += [name] if median[name] > budget else []
    print(f"ratio import deepslide_nb.tiles / import torch {median['import deepslide_nb.tiles'] / median['import torch']:.2f}")
    if late:
        sys.exit(f"over the budget: {', '.join(late)}")

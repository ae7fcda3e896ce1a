"""All benches of speed and memory, one after another; what they found goes to tests/bench/results.md.

    python tests/bench/run.py [--only NAME ...] [--slide SLIDE]        or `make bench`; the slide is for bench_reader.py

`--only memory training` runs these alone; what the others found before stays in the results, with its date.

A bench is a program whose lines `ratio NAME VALUE` (or `ratio VALUE`) are its results. One that fails is listed with
its last line, the others still run, and the exit code is 1."""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from datetime import datetime
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BENCHES = ("reader", "startup", "prediction", "training", "memory")
RATIO = re.compile(r"ratio (?:(.*) )?(-?[0-9.]+(?:e-?[0-9]+)?)")
QUIET = {"TQDM_DISABLE": "1", "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore"}


def machine() -> dict[str, str]:
    "What the figures hang on."
    import torch
    from PIL import features

    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 if hasattr(os, "sysconf") else float("nan")
    names = "torch fastai openslide-python openslide-bin simplejpeg pillow tifffile pyvips dask".split()
    installed = {d.name.lower(): d.version for d in metadata.distributions()}
    versions = ", ".join(f"{n} {installed[n]}" for n in names if n in installed)
    return {
        "processor": f"{found[1] if found else platform.processor()}, {os.cpu_count()} cores, {memory:.0f} GiB",
        "GPU": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none",
        "versions": f"Python {platform.python_version()}, {versions}, libjpeg-turbo {features.version('libjpeg_turbo')} in Pillow",
        "threads": f"OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'not set')}",
    }


def commit() -> str:
    "The commit, and whether files differ from it; 'unknown' outside a clone."
    git = lambda *args: subprocess.run(["git", *args], cwd=HERE, capture_output=True, text=True).stdout.strip()  # noqa: E731
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":!/tests/bench/results.*")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" and changes that are not committed" if changed else "")


def bench(name: str, arguments: list[str]) -> dict:
    "Run a bench, show what it says meanwhile, and give it back with its exit code and minutes."
    command = [sys.executable, str(HERE / f"bench_{name}.py"), *arguments]
    start, said = time.time(), []
    kinds = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | QUIET, **kinds) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            said.append(line.rstrip().replace(f"{ROOT}{os.sep}", ""))
    minutes = round((time.time() - start) / 60, 1)
    return {"name": name, "said": said, "code": process.returncode, "minutes": minutes, "date": f"{datetime.now():%Y-%m-%d %H:%M}", "commit": commit()}


def page(about: dict, done: list[dict]) -> str:
    "The results as Markdown: the machine, the ratios, what failed, and all that was said."
    lines = ["# Results of `make bench`", "", "Written by `tests/bench/run.py`; README.md beside it says how to read this.", ""]
    lines += [f"- {key}: {value}" for key, value in about.items()]
    lines += ["", "| bench | ratio | value |", "|---|---|--:|"]
    for one in done:
        if one["code"]:
            last = next((line for line in reversed(one["said"]) if line.strip()), "it said nothing")
            lines.append(f"| {one['name']} | **failed**: {cell(last)} | |")
        for found in filter(None, map(RATIO.fullmatch, one["said"])):
            lines.append(f"| {one['name']} | {cell(found[1] or one['name'])} | {found[2]} |")
    for one in done:
        title = f"bench_{one['name']}.py, {one['date']}, commit {one['commit']}, {one['minutes']:.1f} min" + (f", exit code {one['code']}" if one["code"] else "")
        lines += ["", f"<details><summary>{title}</summary>", "", "````text", *one["said"], "````", "", "</details>"]
    return "\n".join(lines) + "\n"


def cell(text: str) -> str:
    return text.strip().replace("|", "\\|")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=BENCHES, default=BENCHES, help="run these alone")
    parser.add_argument("--slide", help="for bench_reader.py, in the place of its own slides")
    args = parser.parse_args()
    kept = HERE / "results.json"
    about = machine()
    known = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() and len(args.only) < len(BENCHES) else {"machine": about, "done": []}
    if known["machine"] != about:
        sys.exit(f"the other results in {kept.name} are of another machine or other versions: run all benches.")
    done = {one["name"]: one for one in known["done"]}
    for name in args.only:
        print(f"\n== bench_{name}.py", flush=True)
        done[name] = bench(name, [args.slide] if name == "reader" and args.slide else [])
        order = [done[n] for n in BENCHES if n in done]
        kept.write_text(json.dumps({"machine": about, "done": order}, indent=1) + "\n", encoding="utf-8")
        (HERE / "results.md").write_text(page(about, order), encoding="utf-8")
    failed = [name for name in args.only if done[name]["code"]]
    print(f"\nResults: {HERE / 'results.md'}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()

"""The site: python docs/build.py [--out docs/_build] [LESSON ...]

Stages the pages, builds them with Sphinx (a warning is an error), makes the slides, and checks every page. Fetches reveal.js
from the npm registry once; else nothing comes from the network."""
import argparse
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=HERE / "_build", help="the folder to write")
    parser.add_argument("--jobs", default="2", help="processes of Sphinx")
    parser.add_argument("lessons", nargs="*", help="only these, to look at while writing (links to others are then broken)")
    args = parser.parse_args()

    import check
    import slides
    import stage
    from sphinx.cmd.build import main as sphinx

    site = args.out / "html"
    few = ["-D", "suppress_warnings=myst.xref_missing"] if args.lessons else []  # links to lessons that are left out
    shutil.rmtree(site, ignore_errors=True)
    stage.make(args.out / "stage", args.lessons)
    wrong = sphinx(["-W", "--keep-going", "-q", "-E", "-j", args.jobs, "-b", "html", "-c", str(HERE), "-d", str(args.out / "doctrees"),
                    *few, str(args.out / "stage"), str(site)])  # fmt: skip
    slides.make(site / "slides", args.lessons)
    problems = [p for p in check.problems(site) if not (few and (": no such place: " in p or ": leads nowhere: " in p))]
    if wrong or problems:
        sys.exit("\n".join([*problems, "the site has faults, see above"]))
    print(f"{site / 'index.html'}")


if __name__ == "__main__":
    main()

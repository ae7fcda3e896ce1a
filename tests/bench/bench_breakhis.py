"""BreaKHis bags of shared/real, cross-validated by patient: every method of aggregation on real tissue.

    python tests/bench/bench_breakhis.py OUT [--grey] [--epochs 15] [--real ../shared/real] [key=value ...]

Each fold is one run of the pipeline (three parts to learn, one to choose the epoch and thresholds, one to test),
kept below OUT, so that a stopped trial goes on. `--grey` takes the colour out of the images first: the benign
bags are nearly grey, and a network may learn that and nothing else."""

import argparse
from pathlib import Path

import pandas as pd
from PIL import Image

from deepslide_nb.datasets import kfold_slides, use_fold
from deepslide_nb.evaluation import compare_aggregators, compare_pair
from deepslide_nb.pipeline import run
from deepslide_nb.report import read_table
from deepslide_nb.settings import load_settings

METHODS = "average,majority,threshold,threshold_search,logistic,forest,svm,attention,grid_attention"


def bags(real: Path) -> pd.DataFrame:
    "The slides table of the bags; `patient_number` is the patient (23060AB and 23060CD are one)."
    table = pd.read_csv(real / "breakhis_bags" / "patients.csv", dtype=str)
    paths = [str((real / "breakhis_bags" / r.label / r.bag).resolve()) for r in table.itertuples()]
    return pd.DataFrame(
        {"slide_id": table.bag, "path": paths, "label": table.label, "patient_id": table.patient_number}
    )


def in_grey(slides: pd.DataFrame, folder: Path) -> pd.DataFrame:
    "The same bags without colour, written below `folder`."
    for row in slides.itertuples():
        new = folder / row.slide_id
        new.mkdir(parents=True, exist_ok=True)
        for file in sorted(Path(row.path).glob("*.jpg")):
            Image.open(file).convert("L").convert("RGB").save(new / f"{file.stem}.png")
    return slides.assign(path=[str((folder / s).resolve()) for s in slides.slide_id])


def cross_validate(slides: pd.DataFrame, out: Path, k: int, settings) -> pd.DataFrame:
    "Slide predictions of every bag by the network that has not seen its patient."
    folds, tables = kfold_slides(slides, k, settings.seed), []
    for fold in range(k):
        table = use_fold(folds, fold)
        out.mkdir(parents=True, exist_ok=True)
        table.drop(columns="fold").to_csv(out / f"fold{fold}.csv", index=False)
        run(out / f"fold{fold}.csv", out / f"fold{fold}", settings, resume=True)
        found = read_table(out / f"fold{fold}" / "slide_predictions.csv")
        tables.append(found[found.slide_id.isin(table.slide_id[table.split == "test"])])
    return pd.concat(tables, ignore_index=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--grey", action="store_true")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--real", type=Path, default=Path(__file__).parents[3] / "shared" / "real")
    parser.add_argument("set", nargs="*")
    args = parser.parse_intermixed_args()
    slides = bags(args.real)
    slides = in_grey(slides, args.out / "grey") if args.grey else slides
    changes = {"tile_px": 112, "epochs": args.epochs, "aggregation": METHODS, "background": "benign"}
    changes |= dict(pair.split("=", 1) for pair in args.set)
    by_slide = cross_validate(slides, args.out, 5, load_settings(**changes))
    by_slide.to_csv(args.out / "slide_predictions.csv", index=False)
    table = compare_aggregators(by_slide, slides)
    cells = [f"{r.value:.2f} ({r.low:.2f} to {r.high:.2f})" for r in table.itertuples()]
    print(f"{len(slides)} bags of {slides.patient_id.nunique()} patients, each judged once")
    print(table.assign(cell=cells).pivot(index="method", columns="metric", values="cell").to_string())
    for method in table.method.unique()[1:]:
        pair = compare_pair(by_slide, method, table.method[0], slides)
        low, high = pair["intervals"]["accuracy"]
        print(f"{method} - {pair['second']}: accuracy {pair['difference']['accuracy']:+.2f} "
              f"({low:+.2f} to {high:+.2f}), McNemar p {pair['p_mcnemar']:.2f}")  # fmt: skip

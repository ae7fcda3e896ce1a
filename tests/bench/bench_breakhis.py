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
from deepslide_nb.pipeline import read_table, run
from deepslide_nb.settings import load_settings

METHODS = "average,majority"


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
        (out / f"fold{fold}").mkdir(parents=True, exist_ok=True)
        table.drop(columns="fold").to_csv(out / f"fold{fold}.csv", index=False)
        run(out / f"fold{fold}.csv", out / f"fold{fold}", settings, resume=(out / f"fold{fold}/work").exists())
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
    args = parser.parse_args()
    slides = bags(args.real)
    slides = in_grey(slides, args.out / "grey") if args.grey else slides
    changes = {"tile_px": 112, "epochs": args.epochs, "aggregation": METHODS, "background": "benign"}
    changes |= dict(pair.split("=", 1) for pair in args.set)
    by_slide = cross_validate(slides, args.out, 5, load_settings(**changes))
    by_slide.to_csv(args.out / "slide_predictions.csv", index=False)
    print(by_slide.to_string())

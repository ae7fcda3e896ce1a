"""How often a 95 % interval holds the truth: simulated tables whose population values are known.

    python tests/bench/bench_coverage.py [--tables 500] [--patients 12,20,40,100] [--resamples 1000] [--seed 0]

A patient has one to three slides, mostly of one class, and is easy or hard to read as a person: the slides of a
patient are not independent. The truth is what 60,000 patients give. `percentile` is the middle 95 % of the same
resamples, for comparison; `none` counts the tables in which a score had no interval and `width` is the mean."""

import argparse

import numpy as np
import pandas as pd

from deepslide_nb.evaluation import _draws, _known, _patient_numbers, _resamples, compare_pair, scores

KINDS = {  # name: (share of each class, strength of the network)
    "three even classes": ((1 / 3, 1 / 3, 1 / 3), 2.0),
    "three even classes, good network": ((1 / 3, 1 / 3, 1 / 3), 3.0),
    "two classes, 80 : 20": ((0.8, 0.2), 2.0),
}
KEYS = ("accuracy", "balanced_accuracy", "macro_auc")


def simulate(rng, n_patients, shares, strength):
    "(slide predictions, slides) of so many patients, by the methods `good` and `weak`."
    k = len(shares)
    patient = np.repeat(np.arange(n_patients), rng.integers(1, 4, n_patients))
    n = len(patient)
    label = rng.choice(k, n_patients, p=shares)[patient]
    label = np.where(rng.random(n) < 0.2, rng.choice(k, n, p=shares), label)
    easy, slide = rng.normal(0, 0.7, (n_patients, k))[patient], rng.normal(0, 1, (n, k))
    ids = np.arange(n)
    slides = pd.DataFrame({"slide_id": ids, "patient_id": patient})
    tables = []
    for method, power in (("good", strength), ("weak", 0.7 * strength)):
        z = easy + slide + rng.normal(0, 0.3, (n, k)) + power * np.eye(k)[label]
        prob = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        table = pd.DataFrame(prob, columns=[f"prob_c{i}" for i in range(k)])
        table.insert(0, "slide_id", ids)
        names = np.array([f"c{i}" for i in range(k)], dtype=object)
        tables.append(table.assign(method=method, predicted=names[prob.argmax(1)], label=names[label]))
    return pd.concat(tables, ignore_index=True), slides


def good(table):
    return table[table["method"] == "good"].reset_index(drop=True)


def percentile(table, slides, resamples, seed):
    "dict score -> [low, high], the middle 95 % of the resamples."
    known = _known(table)
    patient, n = _patient_numbers(known, slides)
    draws, _ = _draws(known, sorted(set(known["label"])), patient, _resamples(n, resamples, seed))
    return {k: np.nanpercentile(draws[k], [2.5, 97.5]) for k in KEYS}


def truth(shares, strength, seed=1):
    "Scores of 60,000 patients, and the differences good minus weak."
    by_slide, _ = simulate(np.random.default_rng(seed), 60_000, shares, strength)
    found = {m: scores(t) for m, t in by_slide.groupby("method")}
    return {k: found["good"][k] for k in KEYS}, {k: found["good"][k] - found["weak"][k] for k in KEYS}


def coverage(shares, strength, n_patients, tables=500, resamples=1000, seed=0, pairs=True):
    "One row per score: share of the tables whose interval holds the truth, how many had none, mean width."
    rng, rows = np.random.default_rng([seed, n_patients]), []
    true, difference = truth(shares, strength)
    for i in range(tables):
        by_slide, slides = simulate(rng, n_patients, shares, strength)
        table = good(by_slide)
        if table["label"].nunique() < len(shares):
            continue
        middle, found = percentile(table, slides, resamples, i), scores(table, slides, resamples, i)
        pair = compare_pair(by_slide, "good", "weak", slides, resamples, i) if pairs else {"intervals": {}}
        for k in KEYS:
            rows.append((k, "percentile", true[k], middle[k]))
            rows.append((k, "ours", true[k], found["intervals"][k]))
            if pairs:
                rows.append((k, "paired difference", difference[k], pair["intervals"][k]))
    table = pd.DataFrame(rows, columns=["score", "interval", "truth", "ends"])
    table["none"] = table["ends"].isna()
    ends = np.array([e if e is not None else (np.nan, np.nan) for e in table["ends"]])
    table["width"] = ends[:, 1] - ends[:, 0]
    table["holds"] = np.where(table["none"], np.nan, (ends[:, 0] <= table["truth"]) & (table["truth"] <= ends[:, 1]))
    found = table.groupby(["score", "interval"], sort=False)
    return pd.DataFrame(
        {"truth": found["truth"].first(), "tables": found.size(), "none": found["none"].sum(),
         "holds %": 100 * found["holds"].mean(), "width": found["width"].mean()}
    )  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=500)
    parser.add_argument("--patients", default="12,20,40,100")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for name, (shares, strength) in KINDS.items():
        for n in map(int, args.patients.split(",")):
            found = coverage(shares, strength, n, args.tables, args.resamples, args.seed)
            print(f"\n{name}, {n} patients\n{found.round(3).to_string()}", flush=True)

"""How hard are the sample slides: mean colour alone against a small network, on tiles of other patients.

    python tests/bench/bench_samples.py [--slides slides.csv] [--network] [--epochs 8]

Tiles are 96 px at 1.0 mpp in a plain grid, kept when half of them is tissue; the label is the annotated pattern that
covers at least half of the tile, else normal. Five-fold cross-validation by patient for the colour baselines, one
held-out fold in four for the network (ResNet-18 from random weights, one cycle, flips and colour jitter).
"""
import argparse
import json
import time
from pathlib import Path

import numpy as np
import openslide
import pandas as pd
from PIL import Image, ImageDraw
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, confusion_matrix
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deepslide_nb.samples import CLASSES, sample_slides

PX, SIDE = 96, 192  # tile at 1.0 mpp, and the same square at level 0 (0.5 mpp)


def tiles_of(folder, row):
    "uint8 (n, 96, 96, 3) and class numbers of one slide."
    slide = openslide.OpenSlide(str(folder / row.path))
    rgb = np.asarray(slide.read_region((0, 0), 1, slide.level_dimensions[1]).convert("RGB"))
    truth = Image.new("L", rgb.shape[1::-1])
    if isinstance(row.annotations, str):
        for f in json.loads((folder / row.annotations).read_text())["features"]:
            ring = [tuple(np.array(p) / 2) for p in f["geometry"]["coordinates"][0]]
            ImageDraw.Draw(truth).polygon(ring, fill=CLASSES.index(f["properties"]["classification"]["name"]))
    truth = np.asarray(truth)
    x, y = [], []
    for top in range(0, rgb.shape[0] - PX + 1, PX):
        for left in range(0, rgb.shape[1] - PX + 1, PX):
            t = rgb[top : top + PX, left : left + PX]
            if (np.ptp(t[::4, ::4].astype(int), axis=-1) > 18).mean() < 0.5:
                continue
            share = np.bincount(truth[top : top + PX, left : left + PX].ravel(), minlength=3) / PX**2
            x.append(t)
            y.append(share[1:].argmax() + 1 if share[1:].max() >= 0.5 else 0)
    return np.array(x, "uint8").reshape(-1, PX, PX, 3), np.array(y, int)


def colour_baselines(x, y, group):
    "Balanced accuracy of two classifiers on the mean red, green and blue of a tile."
    mean = x.reshape(len(x), -1, 3).mean(1)
    models = dict(
        logistic=make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000)),
        forest=RandomForestClassifier(300, min_samples_leaf=5, class_weight="balanced", random_state=0),
    )
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    for name, model in models.items():
        said = cross_val_predict(model, mean, y, groups=group, cv=folds)
        print(f"mean colour, {name}: balanced accuracy {balanced_accuracy_score(y, said):.3f}")
        print(np.round(confusion_matrix(y, said, normalize="true"), 2))
    od = -np.log10(np.maximum(mean, 1) / 245)
    print(pd.DataFrame(od, columns=["red", "green", "blue"]).groupby(y).agg(["mean", "std"]).round(3))


def network(x, y, group, epochs, seed=0):
    "Balanced accuracy of a ResNet-18 from random weights on held-out patients."
    import torch
    from torchvision.models import resnet18
    from torchvision.transforms import v2

    torch.manual_seed(seed)
    train, test = next(StratifiedGroupKFold(4, shuffle=True, random_state=seed).split(x, y, group))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    data = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
    mean = x[train].mean((0, 1, 2)) / 255
    std = x[train].reshape(-1, 3).std(0) / 255
    jitter = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.ColorJitter(0.2, 0.2, 0.2, 0.04)])
    norm = v2.Normalize(mean.tolist(), std.tolist())
    counts = np.bincount(y[train], minlength=3)
    each = counts.max() // 1
    n = int(min(len(train), 3 * each))
    model = resnet18(num_classes=3).to(device, memory_format=torch.channels_last)
    optim = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=1e-2)
    steps = n // 32
    cycle = torch.optim.lr_scheduler.OneCycleLR(optim, 3e-3, total_steps=epochs * steps)
    rng = np.random.default_rng(seed)
    weight = (1 / counts)[y[train]]
    start = time.time()
    for epoch in range(epochs):
        model.train()
        order = rng.choice(train, n, p=weight / weight.sum())
        total = 0
        for i in range(steps):
            k = order[i * 32 : (i + 1) * 32]
            xb = torch.stack([norm(jitter(t)) for t in data[k]])
            if rng.uniform() < 0.5:
                xb = xb.flip(2)
            xb = torch.rot90(xb, int(rng.integers(4)), (2, 3))
            loss = torch.nn.functional.cross_entropy(model(xb.to(device)), torch.from_numpy(y[k]).to(device))
            optim.zero_grad()
            loss.backward()
            optim.step()
            cycle.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            said = np.concatenate([model(norm(data[k].float() / 255).to(device)).argmax(1).cpu().numpy()
                                   for k in np.array_split(test, len(test) // 64 + 1)])
        print(f"epoch {epoch}: loss {total / steps:.3f}, held-out balanced accuracy "
              f"{balanced_accuracy_score(y[test], said):.3f}, {time.time() - start:.0f} s", flush=True)
    print(np.round(confusion_matrix(y[test], said, normalize="true"), 2))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slides", type=Path)
    parser.add_argument("--network", action="store_true")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    path = a.slides or sample_slides()
    slides = pd.read_csv(path)
    parts = [tiles_of(path.parent, r) for r in slides.itertuples()]
    x, y = (np.concatenate(v) for v in zip(*parts))
    group = np.repeat(slides.patient_id.to_numpy(), [len(p[1]) for p in parts])
    print(f"{len(slides)} slides, {len(x)} tiles; of each class {dict(zip(CLASSES, np.bincount(y).tolist()))}")
    colour_baselines(x, y, group)
    if a.network:
        network(x, y, group, a.epochs, a.seed)


if __name__ == "__main__":
    main()

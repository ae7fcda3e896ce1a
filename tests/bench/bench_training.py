"""fastai training as `train` does it against a plain PyTorch loop over the same tiles in memory.

    python tests/bench/bench_training.py

Both: the same network, start, batches of 32 tiles of 96 px, augmentation, precision, threads and number of steps. The
plain loop has PyTorch's AdamW and nothing else; fastai also keeps a log, a checkpoint and the weights of each epoch.
An epoch has every tile of the sample slides three times, since writing 180 MB after some 20 batches would count more than
it does with slides of thousands of tiles; the time without it is told too. Epochs take turns; the figures are medians.
Tiles are read from the slides once before the clock starts."""

import os
import statistics
import tempfile
import time

import pandas as pd
import torch
from torch import nn

from deepslide_nb.datasets import JITTER, jitter_colours, quarter_turns, sample_dataset, tile_loaders
from deepslide_nb.settings import load_settings
from deepslide_nb.training import Keeper, fit, has_bfloat16, make_learner, make_network

ROUNDS = 3


def plain_epoch(model, optimiser, pixels, labels, stats, batch):
    "One epoch of the plain loop."
    mean, std = (torch.tensor(s, device=pixels.device).view(1, 3, 1, 1) for s in stats)
    order = torch.randperm(len(pixels))
    for k in range(len(pixels) // batch):
        own = order[k * batch : (k + 1) * batch].to(pixels.device)
        x = jitter_colours(quarter_turns(pixels[own].float() / 255), *JITTER["one_cycle"])
        x = ((x - mean) / std).contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=has_bfloat16(x.device)):
            logits = model(x)
        loss = nn.functional.cross_entropy(logits.float(), labels[own])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    loss.item()


def main():
    settings = load_settings(tiles_per_slide=0, batch=32, epochs=1, patience=0, recipe="one_cycle", balance="none", lr=0.001)
    slides, tiles = sample_dataset(settings)
    slides, tiles = slides[slides["split"] == "train"], pd.concat([tiles] * 3, ignore_index=True)
    classes = sorted(slides["label"].unique())
    dls = tile_loaders(tiles, slides, classes, settings)
    learn = make_learner(dls, settings)
    learn.create_opt()
    dataset = dls.train_ds
    pixels = torch.stack([torch.Tensor(dataset[i][0]) for i in range(len(dataset))]).byte().to(dls.device)
    labels = torch.tensor([int(dataset[i][1]) for i in range(len(dataset))], device=dls.device)
    torch.manual_seed(settings.seed)
    model = make_network(settings.arch, len(classes)).to(dls.device, memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.001)
    n, batch = len(dls.train), settings.batch
    bf16 = "bfloat16" if has_bfloat16(dls.device) else "float32"
    print(f"{n} batches of {batch}, {bf16}, {torch.get_num_threads()} of {os.cpu_count()} threads, {dls.device}", flush=True)

    def fastai():
        with tempfile.TemporaryDirectory() as folder:
            keeper = Keeper(folder, settings, "")
            keeper.lr, save = settings.lr, keeper.save

            def timed():
                begin = time.perf_counter()
                save()
                saving.append(time.perf_counter() - begin)

            keeper.save = timed
            fit(learn, settings, keeper)

    ways = {
        "fastai": fastai,
        "plain": lambda: plain_epoch(model, optimiser, pixels, labels, dls.stats, batch),
    }
    saving, seconds, busy = [], {k: [] for k in ways}, {k: [] for k in ways}
    for k in range(ROUNDS + 1):
        for name, epoch in ways.items():
            begin, cpu = time.perf_counter(), time.process_time()
            epoch()
            busy[name].append(time.process_time() - cpu)
            seconds[name].append(time.perf_counter() - begin)
    for name, s in seconds.items():
        s = s[1:]  # the first round warms up
        print(f"{name:7} {n * batch / statistics.median(s):6.0f} tiles/s, {1e3 * statistics.median(s) / n:6.1f} ms a batch   {[round(v, 1) for v in s]}")
    spent = [statistics.median(busy[n][1:]) for n in ("plain", "fastai")]
    print(f"processor seconds, plain loop / fastai {spent[0] / spent[1]:.3f}")
    pairs = [p / (f - s) for f, p, s in zip(seconds["fastai"][1:], seconds["plain"][1:], saving[1:])]
    print(f"plain loop / fastai without the {statistics.median(saving):.2f} s of writing {statistics.median(pairs):.3f}")
    pairs = [p / f for f, p in zip(seconds["fastai"][1:], seconds["plain"][1:])]
    print(f"ratio fastai training / plain loop {statistics.median(pairs):.3f}")


if __name__ == "__main__":
    main()

"""fastai training as `train` does it against a plain PyTorch loop over the same tiles in memory.

    python tests/bench/bench_training.py

Both: the same network, start, batches of 32 tiles of 96 px, augmentation, precision, threads and number of steps. The
plain loop has PyTorch's AdamW and nothing else; fastai also keeps a log, a checkpoint and the weights of each epoch.
They take turns batch by batch (on a GPU epoch by epoch), as the machine's own speed drifts by more than the two differ:
after every batch of fastai's epoch one of the plain loop runs, and its time is taken off the epoch's. All else that an
epoch does counts.
An epoch has every tile of the sample slides three times, since writing 180 MB after some 20 batches would count more than
it does with slides of thousands of tiles; the time without it is told too. The figures are medians of the epochs.
Tiles are read from the slides once before the clock starts."""

import os
import tempfile
import time

import numpy as np
import pandas as pd
import torch
from fastai.callback.core import Callback
from torch import nn

from deepslide_nb.datasets import JITTER, jitter_colours, quarter_turns, sample_dataset, tile_loaders
from deepslide_nb.settings import load_settings
from deepslide_nb.training import Keeper, fit, has_bfloat16, make_learner, make_network

ROUNDS = 3


def clock():
    "Seconds now: on the wall, and of the processor."
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return np.array([time.perf_counter(), time.process_time()])


def plain_batches(model, optimiser, pixels, labels, stats, batch):
    "The plain loop, epoch after epoch; stops after every batch."
    mean, std = (torch.tensor(s, device=pixels.device).view(1, 3, 1, 1) for s in stats)
    while True:
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
            yield


class TakeTurns(Callback):
    "Runs the plain loop between the batches; `spent` sums up its seconds."

    order = 99

    def __init__(self, batches):
        self.batches, self.spent = batches, np.zeros(2)

    def take(self, n):
        begin = clock()
        for _ in range(n):
            next(self.batches)
        self.spent += clock() - begin

    def after_batch(self):
        if self.dls.device.type == "cpu":
            self.take(1)

    def before_epoch(self):  # on a GPU, for which other processes read tiles meanwhile, a whole one
        if self.dls.device.type == "cuda":
            self.take(len(self.dls.train))


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
    turns = TakeTurns(plain_batches(model, optimiser, pixels, labels, dls.stats, batch))
    learn.add_cb(turns)
    found = []
    for _ in range(ROUNDS + 1):
        with tempfile.TemporaryDirectory() as folder:
            keeper = Keeper(folder, settings, "")
            keeper.lr, save, saving, turns.spent = settings.lr, keeper.save, [], np.zeros(2)

            def timed():
                begin = clock()
                save()
                saving.append(clock() - begin)

            keeper.save = timed
            begin = clock()
            fit(learn, settings, keeper)
            found.append([clock() - begin - turns.spent, turns.spent, *saving])
    found = np.array(found[1:])  # (rounds, fastai plain writing, wall processor); the first round warms up
    fastai, plain, writing = np.moveaxis(found, 1, 0)
    for name, s in {"fastai": fastai, "plain": plain}.items():
        s = s[:, 0]
        print(f"{name:7} {n * batch / np.median(s):6.0f} tiles/s, {1e3 * np.median(s) / n:6.1f} ms a batch   {s.round(1).tolist()}")
    print(f"processor seconds, plain loop / fastai {np.median(plain / fastai, 0)[1]:.3f}")
    print(f"plain loop / fastai without the {np.median(writing, 0)[0]:.2f} s of writing {np.median(plain / (fastai - writing), 0)[0]:.3f}")
    print(f"ratio fastai training / plain loop {np.median(plain / fastai, 0)[0]:.3f}")


if __name__ == "__main__":
    main()

"""Further rows of `speed.py`, which are measured when they are named.

`peers` compares with loops in torch and Lightning, `startup` has the time to the first step,
`precision` that of bfloat16, `conv` that of a conv network beside its arithmetic, and `size` speeds
by the number of images.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import Bench
from builds import in_turn
from measure import Spread, run

PEERS = {
    "tutorial": ("the usual tutorial loop", 12.0),
    "plain": ("a plain loop in memory", 1.0),
    "by_hand": ("a step written by hand, without autograd", None),
    "lightning": ("a plain Lightning loop", 2.0),
}
"""Programs to compare with: their description, and the mark of the ratio of speeds."""


def peers(bench: Bench) -> None:
    """Images per second of every program; losses from the first round, the longest."""
    known = [n for n in PEERS if n != "lightning" or importlib.util.find_spec(n)]
    rounds: list[dict[str, Any]] = []
    for number in range(bench.rounds):
        epochs = bench.sizes.peers if number == 0 else 2
        found: dict[str, Any] = {}
        for name in in_turn([*known, "vae-run"], number):
            if name == "vae-run":
                done = bench.ours.train(*bench.mnist(epochs), threads=bench.threads)
                found[name] = {**asdict(done), "examples_per_second": done.speed}
            else:
                few = 0 if name == "tutorial" and epochs < 10 else epochs
                found[name] = bench.script("peers.py", name, bench.root, few)
        rounds.append(found)
    bench.raw["peers"] = rounds

    def speeds(name: str) -> list[float]:
        return [found[name]["examples_per_second"] for found in rounds]

    for name, (what, least) in PEERS.items():
        if name not in known:
            bench.row(f"vae-run / {what}", "not installed: pip install '.[bench]'")
            continue
        losses = " and ".join(f"{rounds[0][n]['test_loss']:.2f}" for n in ("vae-run", name))
        own, other = (Spread.of(speeds(n)).text(",.0f") for n in ("vae-run", name))
        said = (
            f"{own} and {other} images/s; test loss after {bench.sizes.peers} epochs {losses} nats"
        )
        ratio = Spread.of_ratio(speeds("vae-run"), speeds(name))
        bench.marked(f"vae-run / {what}", ratio, detail=said, least=least)


def startup(bench: Bench) -> None:
    """Time from the command to the first step, and to the prompt."""
    one, help_, torch_, stages = [], [], [], []
    quick = ("trainer.steps=1", "evaluation.figures=[]", "device=cpu")
    for _ in range(bench.rounds + 1):  # the first fills the file cache
        torch_.append(run([sys.executable, "-c", "import torch"], bench.threads).seconds)
        one.append(bench.vae_run(*quick)["first_step"])
        help_.append(run([sys.executable, "-m", "vae_run", "--help"], bench.threads).seconds)
    for _ in range(min(3, bench.rounds)):
        stages.append(bench.vae_run("device=cpu"))
    bench.raw["startup"] = {"torch": torch_, "first": one, "help": help_, "stages": stages}
    spread = Spread.of_ratio(torch_[1:], one[1:])
    detail = f"{Spread.of(torch_[1:]).text()} s of {Spread.of(one[1:]).text()} s"
    bench.marked("import torch / time to the first step", spread, detail=detail, least=0.6)
    help_time = Spread.of(help_[1:])
    bench.marked("vae-run --help", help_time, "s", most=0.5)
    names = ("import", "data", "training", "evaluation", "figures", "closing")
    parts = [f"{name} {Spread.of([s[name] for s in stages]).median:.2f}" for name in names]
    whole = Spread.of([s["total"] for s in stages])
    what = "the stages of the default digits run, to the prompt"
    bench.marked(what, whole, "s", ", ".join(parts) + " s")


def precision(bench: Bench) -> None:
    """bfloat16 compared with float32, at a batch size at which it is faster."""
    speeds: dict[str, list[float]] = {"bfloat16": [], "float32": []}
    losses = {}
    for _ in range(bench.rounds):
        for name, found in speeds.items():
            words = bench.mnist(3, f"precision={name}", "trainer.batch_size=512")
            done = bench.ours.train(*words, threads=bench.threads)
            found.append(done.speed)
            losses[name] = done.test_loss
    bench.raw["precision"] = speeds
    losses_text = " and ".join(f"{loss:.1f} ({name})" for name, loss in losses.items())
    said = f"test loss after 3 epochs {losses_text}"
    bench.marked("bfloat16 / float32, batch 512", Spread.of_ratio(*speeds.values()), detail=said)


def conv(bench: Bench) -> None:
    """Forward and backward of a conv network compared with its training."""
    bench.raw["conv"] = found = bench.script("pieces.py")
    what = "conv, 3x32x32: forward and backward / training"
    bench.marked(what, Spread.of_ratio(found["alone"], found["whole"]), least=0.9)


def size(bench: Bench) -> None:
    """The same number of steps on 1, 4 and 16 times as many images."""
    import numpy as np

    speeds = {}
    with tempfile.TemporaryDirectory() as folder:
        for times in (1, 4, 16):
            file, n = Path(folder, f"{times}.npz"), 10_000 * times
            images = np.random.default_rng(0).integers(0, 256, (n, 1, 28, 28), dtype=np.uint8)
            np.savez(file, train=images)
            del images
            words = ("dataset=arrays", f"dataset.path='{file}'", "network.widths=[400]")
            how = ("latent_dim=20", "trainer.epochs=null", "trainer.steps=600", "device=cpu")
            typed = (*words, *how, "evaluation.figures=[]", "trainer.evaluate_every=1000")
            speeds[times] = [
                bench.ours.train(*typed, threads=bench.threads).speed for _ in range(bench.rounds)
            ]
            file.unlink()
    bench.raw["size"] = speeds
    spread = {times: Spread.of_ratio(found, speeds[1]) for times, found in speeds.items()}
    found = ", ".join(f"{s.text()} at {times}" for times, s in spread.items() if times > 1)
    flat = "met" if min(s.median for s in spread.values()) >= 0.9 else "missed"
    bench.row("images/s at 4 and 16 times the data / at 10,000 images", found, f"flat: {flat}")


OTHERS: dict[str, Callable[[Bench], None]] = {
    f.__name__: f for f in (peers, startup, precision, conv, size)
}
"""The names of rows that are measured on demand."""

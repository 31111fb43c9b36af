"""Rows of `speed.py` about training on MNIST: long ones as typed, and short ones on one core.

A group of rows is a function that measures its contestants in turn, in rounds, and adds the rows
that were chosen.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
from collections.abc import Callable, Collection
from dataclasses import asdict
from typing import Any

from bench import Bench
from builds import Trained, in_turn
from measure import Spread, bfloat16_here

Chosen = Collection[str]
MISSING = "not installed: pip install '.[bench]'"
NO_BFLOAT16 = "not here: this processor does not multiply bfloat16 itself"


def long_training(bench: Bench, chosen: Chosen) -> None:
    """Trainings of 30 epochs: this build with empty caches and then with full ones, and others."""
    epochs = bench.sizes.long
    words = bench.mnist(epochs)
    rounds: list[dict[str, Any]] = []
    for number in range(bench.long_rounds):
        contestants: dict[str, Callable[[], Any]] = {"ours": lambda: _twice(bench, words)}
        if "prompt" in chosen:
            contestants["base"] = lambda: bench.earlier.train(*words, threads=bench.threads)
        if "pythae" in chosen and number == 0 and importlib.util.find_spec("pythae"):
            contestants["pythae"] = lambda: bench.script("peers.py", "pythae", bench.root, epochs)
        rounds.append({name: contestants[name]() for name in in_turn([*contestants], number)})
    cold_runs, warm = zip(*(found["ours"] for found in rounds), strict=True)
    before = [found["base"] for found in rounds if "base" in found]
    bench.raw["long_training"] = {
        "cold": [asdict(one) for one in cold_runs],
        "warm": [asdict(one) for one in warm],
        "base": [asdict(one) for one in before],
        "pythae": rounds[0].get("pythae"),
    }
    if "prompt" in chosen:
        _prompt(bench, list(cold_runs), list(warm), before)
    if "epochs" in chosen:
        _epochs(bench, list(warm), before)
    if "pythae" in chosen:
        _pythae(bench, warm[0], rounds[0].get("pythae"))


def _twice(bench: Bench, words: tuple[str, ...]) -> list[Trained]:
    """The same command with empty caches, and with those that it left."""
    build = bench.ours.cold()
    return [build.train(*words, threads=bench.threads) for _ in range(2)]


def _prompt(bench: Bench, cold: list[Trained], warm: list[Trained], base: list[Trained]) -> None:
    for kind, runs, most in (("empty", cold, 0.85), ("full", warm, 0.65)):
        seconds, others = [r.seconds for r in runs], [r.seconds for r in base]
        what = f"{bench.sizes.long} epochs, from prompt to prompt, {kind} caches: time / base's"
        said = (
            f"{Spread.of(seconds).text('.1f')} and {Spread.of(others).text('.1f')} s; "
            f"test loss {runs[0].test_loss:.2f} and {base[0].test_loss:.2f} nats"
        )
        bench.marked(what, Spread.of_ratio(seconds, others), detail=said, most=most)


def _epochs(bench: Bench, warm: list[Trained], base: list[Trained]) -> None:
    """The speed at the end of training compared with that at its start."""
    alone = bench.ours.train(*bench.mnist(bench.sizes.long), threads=1)
    bench.raw["epochs"] = asdict(alone)
    for threads, runs in ((1, [alone]), (bench.threads, warm)):
        said = (
            f"{runs[0].epochs[0]:,.0f} images/s in epoch 1, {runs[0].epochs[-1]:,.0f} in the last"
        )
        if base and threads != 1:
            said += f"; base {Spread.of([run.late() for run in base]).text()} times"
        what = f"images/s in the last third of {bench.sizes.long} epochs / at the start, "
        what += f"{threads} thread{'s' * (threads > 1)}"
        bench.marked(what, Spread.of([run.late() for run in runs]), detail=said, least=0.97)


def _pythae(bench: Bench, own: Trained, other: dict[str, float] | None) -> None:
    what = f"vae-run / pythae 0.1.2's trainer, {bench.sizes.long} epochs, {bench.threads} threads"
    if other is None:
        bench.row(what, MISSING)
        return
    said = (
        f"{own.speed:,.0f} and {other['examples_per_second']:,.0f} images/s; "
        f"test loss {own.test_loss:.2f} and {other['test_loss']:.2f} nats"
    )
    ratio = Spread.of([own.speed / other["examples_per_second"]])
    bench.marked(what, ratio, detail=said, least=2.2)


def one_thread(bench: Bench, chosen: Chosen) -> None:
    """Speeds on one core to which each process is bound, when everything has been compiled."""
    kinds = ["float32", *["bfloat16"] * bfloat16_here()]
    contestants = _on_one_core(bench, chosen, kinds)
    rounds = [
        {name: contestants[name]() for name in in_turn(list(contestants), number)}
        for number in range(bench.rounds)
    ]
    bench.raw["one_thread"] = rounds

    def speeds(name: str) -> list[float]:
        return [found[name]["examples_per_second"] for found in rounds]

    for kind, least in (("float32", 0.9), ("bfloat16", 1.4)) if "jax" in chosen else ():
        what = f"one thread, warm: vae-run / JAX's scan, {kind}"
        if f"jax {kind}" not in contestants:
            bench.row(what, MISSING if kind in kinds else NO_BFLOAT16)
            continue
        pair = (f"vae-run {kind}", f"jax {kind}")
        said = " and ".join(Spread.of(speeds(name)).text(",.0f") for name in pair) + " images/s"
        said += "; test loss " + " and ".join(f"{rounds[0][n]['test_loss']:.2f}" for n in pair)
        ratio = Spread.of_ratio(*map(speeds, pair))
        bench.marked(what, ratio, detail=f"{said} nats", least=least)
    if "products" in chosen:
        ratio = Spread.of_ratio(speeds("vae-run float32"), speeds("products"))
        said = f"products alone {Spread.of(speeds('products')).text(',.0f')} images/s"
        what = "one thread: time of the products alone / of training, float32"
        bench.marked(what, ratio, detail=said, least=0.6)


def _on_one_core(
    bench: Bench, chosen: Chosen, kinds: list[str]
) -> dict[str, Callable[[], dict[str, float]]]:
    """What measures the speed and the test loss of each program, by its name and precision."""
    core = max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    epochs, found = bench.sizes.short, {}
    if "products" in chosen:
        found["products"] = lambda: bench.script("floor.py", core=core)
    for kind in kinds:
        words = bench.mnist(epochs, "trainer.compile=true", f"precision={kind}")
        bench.ours.train(*words, "trainer.epochs=1", threads=1, core=core)  # compiles

        def ours(words: tuple[str, ...] = words) -> dict[str, float]:
            return _settled(bench.ours.train(*words, threads=1, core=core))

        def jax(kind: str = kind) -> Any:
            return bench.script("peers.py", "jax", bench.root, epochs, kind, core=core)

        found[f"vae-run {kind}"] = ours
        if "jax" in chosen and importlib.util.find_spec("jax"):
            found[f"jax {kind}"] = jax
    return found


def _settled(found: Trained) -> dict[str, float]:
    """The values that `peers.py` prints, without the first epoch."""
    speed = statistics.median(found.epochs[1:])
    return {"examples_per_second": speed, "test_loss": found.test_loss}

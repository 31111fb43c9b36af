"""The rows of `speed.py` that have marks: whole programs; `trainings.py` has those of training."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict

from bench import Bench
from builds import Build, Swept, in_turn
from measure import Spread, bfloat16_here, run
from trainings import MISSING, NO_BFLOAT16, Chosen, long_training, one_thread


def sweep(bench: Bench, chosen: Chosen) -> None:
    """A sweep over seeds, two jobs at a time, with empty caches, once."""
    sizes = bench.sizes
    words = bench.mnist(sizes.swept)
    kinds: dict[str, tuple[Build, tuple[str, ...]]] = {
        "base": (bench.earlier, words),
        "float32": (bench.ours.cold(), words),
    }
    if bfloat16_here():
        kinds["bfloat16"] = (bench.ours.cold(), (*words, "precision=bfloat16"))
    found: dict[str, Swept] = {
        name: build.sweep(sizes.seeds, *typed, at_a_time=2)
        for name, (build, typed) in kinds.items()
    }
    bench.raw["sweep"] = {name: asdict(one) for name, one in found.items()}
    seconds = {name: one.seconds_of(sizes.all_seeds, 2) for name, one in found.items()}
    short = "" if sizes.seeds == sizes.all_seeds else f" (from {sizes.seeds} jobs)"
    for kind, most in (("float32", 0.6), ("bfloat16", 0.45)):
        what = f"sweep of {sizes.all_seeds} seeds x {sizes.swept} epochs, 2 at a time, empty caches"
        what += f", {kind}: time / base's"
        if kind not in found:
            bench.row(what, NO_BFLOAT16)
            continue
        said = f"{seconds[kind]:,.0f} and {seconds['base']:,.0f} s{short}; mean test loss "
        said += f"{found[kind].test_loss:.2f} and {found['base'].test_loss:.2f} nats"
        ratio = Spread.of([seconds[kind] / seconds["base"]])
        bench.marked(what, ratio, detail=said, most=most)


def jobs(bench: Bench, chosen: Chosen) -> None:
    """Seconds a job of a sweep of trainings of two epochs on the digits, once."""
    n = bench.sizes.tiny
    words = ("device=cpu", "trainer.epochs=2", "evaluation.figures=[]")
    pair = [build.sweep(n, *words, at_a_time=2) for build in (bench.earlier, bench.ours)]
    bench.raw["jobs"] = [asdict(one) for one in pair]
    before, own = (one.seconds / n for one in pair)
    said = f"base {before:.2f} s, {own / before:.2f} times; mean test loss "
    said += f"{pair[1].test_loss:.2f} and {pair[0].test_loss:.2f} nats"
    what = f"time of a job, {n} tiny jobs, 2 at a time"
    bench.marked(what, Spread.of([own]), "s", said, most=0.25)


def digits(bench: Bench, chosen: Chosen) -> None:
    """The default run with its pictures and its report."""
    words = ("device=cpu", f"trainer.epochs={bench.sizes.digits}")
    builds = {"ours": bench.ours, "base": bench.earlier}
    rounds = [
        {name: builds[name].train(*words, threads=None) for name in in_turn(list(builds), number)}
        for number in range(bench.rounds)
    ]
    bench.raw["digits"] = [{n: asdict(one) for n, one in found.items()} for found in rounds]
    own, before = ([found[name].seconds for found in rounds] for name in ("ours", "base"))
    said = f"{Spread.of(own).text('.1f')} and {Spread.of(before).text('.1f')} s; test loss "
    said += " and ".join(f"{rounds[0][name].test_loss:.2f}" for name in builds) + " nats"
    what = "`vae-run` on the digits, from prompt to prompt: time / base's"
    bench.marked(what, Spread.of_ratio(own, before), detail=said, most=0.6)


def memory(bench: Bench, chosen: Chosen) -> None:
    """The peak of all processes of a training together."""
    base = run([sys.executable, "-c", "import torch"], 1).peak_mb
    found = bench.ours.train(*bench.mnist(2), threads=bench.threads, sampled=True)
    bench.raw["memory"] = {"import torch": base, "training": found.peak_mb}
    what = "peak memory on MNIST beyond import torch"
    said = f"import torch {base:,.0f} MB"
    spread = Spread.of([found.peak_mb - base])
    bench.marked(what, spread, "MB", said, most=200)


def likelihood(bench: Bench, chosen: Chosen) -> None:
    """Importance sampling in this process's own model, beside its products and pythae."""
    sizes = bench.sizes
    given = ("--images", sizes.images, "--samples", sizes.samples, "--rounds", bench.rounds)
    bench.raw["likelihood"] = found = bench.script("likelihood.py", "--json", *given)
    seconds, estimates = found["seconds"], found["estimates"]
    what = f"importance sampling, K = {sizes.samples}: time of the products / of the whole"
    ratio = Spread.of_ratio(seconds["products alone"], seconds["vae-run"])
    own = f"{Spread.of(seconds['vae-run']).text()} s for {sizes.images} images"
    bench.marked(what, ratio, detail=own, least=0.75)
    what = f"importance sampling, K = {sizes.samples}: pythae's get_nll / vae-run"
    if "pythae" not in seconds:
        bench.row(what, MISSING)
        return
    ratio = Spread.of_ratio(seconds["pythae"], seconds["vae-run"])
    said = f"-log p(x) {estimates['vae-run']:.3f} and {estimates['pythae']:.3f} nats"
    bench.marked(what, ratio, detail=said, least=3.5)


GROUPS: dict[tuple[str, ...], Callable[[Bench, Chosen], None]] = {
    ("prompt", "epochs", "pythae"): long_training,
    ("jax", "products"): one_thread,
    **{(f.__name__,): f for f in (sweep, jobs, digits, memory, likelihood)},
}
"""The names of rows, and the function that measures them."""

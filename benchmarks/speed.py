"""Compares the speed of vae-run with other programs, and with that of its arithmetic: `make bench`.

Every measurement is a separate process. Programs take turns, every other round in reverse order, so
that changes in the load of the machine affect all alike; ratios are computed within a round, and
printed as median, lowest and highest. Speeds are of training alone, without start-up, evaluation
and figures. Programs that are not installed are skipped with a message:

    pip install -e '.[bench]'

`--only` chooses among the groups of rows: training startup precision conv likelihood size sweep.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import Bench, data_root
from measure import HERE, Spread, machine, markdown, run, script

PEERS = {
    "tutorial": ("the usual tutorial loop", 12.0),
    "plain": ("a plain loop in memory", 1.0),
    "by_hand": ("a step written by hand, without autograd", 0.0),
    "pythae": ("pythae 0.1.2's trainer", 2.2),
    "lightning": ("a plain Lightning loop", 2.0),
    "jax": ("JAX, one jitted scan an epoch", 1.0),
}
"""Programs to compare with: their description, and the target ratio of speeds."""


LOCAL = ("tutorial", "plain", "by_hand")
"""Programs that need no further packages."""


def training(bench: Bench) -> None:
    """Images per second of every program; losses and times to the end from the first round."""
    known = [name for name in PEERS if name in LOCAL or importlib.util.find_spec(name)]
    for name in set(PEERS) - set(known):
        bench.row(f"vae-run / {PEERS[name][0]}", "not installed", detail="pip install '.[bench]'")

    def peer(name: str, epochs: int) -> dict[str, Any]:
        epochs = 0 if name == "tutorial" and epochs < bench.epochs else epochs
        done = run(script("peers.py", name, bench.root, epochs), bench.threads)
        return {**json.loads(done.output), "peak_mb": done.peak_mb}

    contestants: dict[str, Callable[[int], dict[str, Any]]] = {
        name: (lambda epochs, name=name: peer(name, epochs)) for name in known
    }
    contestants["vae-run"] = bench.trained
    contestants["products"] = lambda _: json.loads(run(script("floor.py"), bench.threads).output)
    rounds = []
    for number in range(bench.rounds):
        epochs = bench.epochs if number == 0 else 2
        order = list(contestants) if number % 2 == 0 else list(contestants)[::-1]
        rounds.append({name: contestants[name](epochs) for name in order})
        speeds = {name: f"{r['examples_per_second']:,.0f}" for name, r in rounds[-1].items()}
        print(f"  round {number + 1}: {speeds} images/s", file=sys.stderr, flush=True)
    bench.raw["training"] = rounds
    _report_training(bench, known, rounds)


def _report_training(
    bench: Bench, known: list[str], rounds: list[dict[str, dict[str, Any]]]
) -> None:
    def all_of(name: str, what: str = "examples_per_second") -> list[float]:
        return [found[name][what] for found in rounds]

    long = rounds[0]
    for name in known:
        what, least = PEERS[name]
        spread = Spread.of_ratio(all_of("vae-run"), all_of(name))
        speed, loss = Spread.of(all_of(name)).text(",.0f"), long[name]["test_loss"]
        bench.ratio(
            f"vae-run / {what}", spread, least, f"{speed} images/s; test loss {loss:.2f} nats"
        )
    own, loss = Spread.of(all_of("vae-run")).text(",.0f"), long["vae-run"]["test_loss"]
    bench.row("vae-run", f"{own} images/s", detail=f"test loss {loss:.2f} nats")
    bench.raw["compiled"] = compiled = bench.trained(bench.epochs, "trainer.compile=true")
    swift, loss = compiled["examples_per_second"], compiled["test_loss"]
    said = f"test loss {loss:.2f} nats; once, compiling within"
    bench.row("vae-run, trainer.compile=true", f"{swift:,.0f} images/s", detail=said)
    if "jax" in known:
        jax, ours = (long[name]["seconds_to_the_end"] for name in ("jax", "vae-run"))
        what = f"JAX / vae-run, prompt to the end of {bench.epochs} epochs"
        said = f"JAX {jax:.1f} s, vae-run {ours:.1f} s, once"
        bench.ratio(what, Spread.of([jax / ours]), 1.0, said)
    limit = Spread.of_ratio(all_of("vae-run"), all_of("products"))
    said = f"products alone {Spread.of(all_of('products')).text(',.0f')} images/s"
    bench.ratio("time of the matrix products / of training", limit, 0.8, said)
    imported = f"import sys, torch; sys.path.append({str(HERE)!r}); import stages"
    base = float(run([sys.executable, "-c", f"{imported}; print(stages.peak_mb())"], 1).output)
    beyond = max(all_of("vae-run", "peak_mb")) - base
    mark = f"under 250: {'met' if beyond < 250 else 'missed'}"
    what = "peak memory on MNIST beyond import torch"
    bench.row(what, f"{beyond:,.0f} MB", mark, f"import torch {base:,.0f} MB")


def startup(bench: Bench) -> None:
    """Time from the command to the first step, and to the prompt."""
    one, help_, torch_, stages = [], [], [], []
    quick = ("trainer.steps=1", "evaluation.figures=[]", "device=cpu")
    for _ in range(bench.rounds + 1):  # the first fills the file cache
        torch_.append(bench.seconds([sys.executable, "-c", "import torch"]))
        one.append(bench.vae_run(*quick)["first_step"])
        help_.append(bench.seconds([sys.executable, "-m", "vae_run", "--help"]))
    for _ in range(min(3, bench.rounds)):
        stages.append(bench.vae_run("device=cpu"))
    bench.raw["startup"] = {"torch": torch_, "first": one, "help": help_, "stages": stages}
    spread = Spread.of_ratio(torch_[1:], one[1:])
    detail = f"{Spread.of(torch_[1:]).text()} s of {Spread.of(one[1:]).text()} s"
    bench.ratio("import torch / time to the first step", spread, 0.6, detail)
    help_time = Spread.of(help_[1:])
    met = "met" if help_time.median < 0.5 else "missed"
    bench.row("vae-run --help", f"{help_time.text()} s", f"under 0.5: {met}")
    names = ("import", "data", "training", "evaluation", "figures", "closing")
    parts = [f"{name} {Spread.of([s[name] for s in stages]).median:.2f}" for name in names]
    whole = Spread.of([s["total"] for s in stages])
    bench.row("the default digits run, to the prompt", f"{whole.text('.1f')} s",
              detail=", ".join(parts) + " s")  # fmt: skip


def precision(bench: Bench) -> None:
    """bfloat16 compared with float32, at a batch size at which it is faster."""
    speeds: dict[str, list[float]] = {"bfloat16": [], "float32": []}
    losses = {}
    for _ in range(bench.rounds):
        for name, found in speeds.items():
            done = bench.mnist(3, f"precision={name}", "trainer.batch_size=512")
            found.append(done["train"]["examples_per_second"])
            losses[name] = done["test"]["loss"]
    bench.raw["precision"] = speeds
    losses_text = " and ".join(f"{loss:.1f} ({name})" for name, loss in losses.items())
    bench.ratio("bfloat16 / float32, batch 512", Spread.of_ratio(*speeds.values()), 1.4,
                f"test loss after 3 epochs {losses_text}")  # fmt: skip


def conv(bench: Bench) -> None:
    _piece(bench, "conv", "conv, 3x32x32: forward and backward / training", 0.9)


def likelihood(bench: Bench) -> None:
    _piece(bench, "likelihood", "importance sampling, K = 5000: products / whole", 0.67)


def _piece(bench: Bench, name: str, what: str, least: float) -> None:
    found = json.loads(run(script("pieces.py", name), bench.threads).output)
    bench.raw[name] = found
    bench.ratio(what, Spread.of_ratio(found["alone"], found["whole"]), least)


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
            quiet = ("evaluation.figures=[]", "trainer.evaluate_every=1000")
            speeds[times] = [
                bench.vae_run(*words, *how, *quiet)["train"]["examples_per_second"]
                for _ in range(bench.rounds)
            ]
            file.unlink()
    bench.raw["size"] = speeds
    spread = {times: Spread.of_ratio(found, speeds[1]) for times, found in speeds.items()}
    found = ", ".join(f"{s.text()} at {times}" for times, s in spread.items() if times > 1)
    flat = "met" if min(s.median for s in spread.values()) >= 0.9 else "missed"
    bench.row("images/s at 4 and 16 times the data / at 10,000 images", found, f"flat: {flat}")


def sweep(bench: Bench) -> None:
    """Seconds per job of a sweep of training runs of two epochs on the digits."""
    each = {}
    for jobs in (1, 10, 100):
        with tempfile.TemporaryDirectory() as folder:
            plain = ("device=cpu", "trainer.epochs=2", "evaluation.figures=[]")
            typed = (f"seed=range({jobs})", *plain, f"sweep.dir='{folder}/sweep'")
            command = [sys.executable, "-m", "vae_run", "-m", *typed]
            each[jobs] = bench.seconds(command, Path(folder)) / jobs
    bench.raw["sweep"] = each
    falling = "met" if each[1] > each[10] > each[100] else "missed"
    found = ", ".join(f"{seconds:.2f} at {jobs}" for jobs, seconds in each.items())
    bench.row("seconds per job of a sweep, by jobs", found, f"falling: {falling}")


GROUPS = {f.__name__: f for f in (training, startup, precision, conv, likelihood, size, sweep)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=list(GROUPS), default=list(GROUPS))
    parser.add_argument("--rounds", type=int, default=3, help="of each paired measurement (3)")
    parser.add_argument("--epochs", type=int, default=10, help="of the first round (10)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of each (all)")
    output = HERE.parent / "outputs" / "speed.json"
    parser.add_argument(
        "--output", type=Path, default=output, help="JSON; a .md file is written beside it"
    )
    arguments = parser.parse_args()
    bench = Bench(arguments.threads, arguments.rounds, arguments.epochs, data_root())
    where, started, failed = machine(arguments.threads), time.monotonic(), False
    for name in arguments.only:
        print(name, file=sys.stderr, flush=True)
        try:
            GROUPS[name](bench)
        except RuntimeError as error:  # the other groups are still run
            failed = True
            print(f"speed.py: {error}", file=sys.stderr)
            bench.row(name, "failed", detail=str(error).splitlines()[-1])
    about = ", ".join(f"{name} {value}" for name, value in where.items())
    minutes = (time.monotonic() - started) / 60
    text = (
        f"{about}\n\nVAE 784-400-20-400-784 on MNIST, batch 128, unless stated otherwise; "
        f"median (lowest - highest) of {arguments.rounds} rounds, test loss after "
        f"{arguments.epochs} epochs; {minutes:.1f} minutes in all.\n\n"
        f"{markdown(('quantity', 'measured', 'target', 'detail'), bench.rows)}\n"
    )
    print(f"\n{text}")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    report = {"machine": where, "arguments": {k: str(v) for k, v in vars(arguments).items()}}
    report |= {"rows": bench.rows, "raw": bench.raw, "minutes": minutes}
    arguments.output.write_text(json.dumps(report, indent=2) + "\n")
    arguments.output.with_suffix(".md").write_text(text)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

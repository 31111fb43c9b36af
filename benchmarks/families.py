"""Families of models in vae-run beside the same in other programs: their errors and speeds.

    python benchmarks/families.py [--only vq_vae factor_vae topk fsq] [--epochs 3] [--rounds 3]

Models, layers, data, batches, learning rate and epochs are equal (`family_peers.py`); losses and
initial weights are each program's own. In a round each program trains once, with the number of the
round as its seed, and vae-run twice: by eager steps and by a compiled step. Programs take turns, in
processes of one thread. Speeds are of training steps alone, by processor time, which other
processes on the machine affect less than the time of the clock; a first step, which contains the
compilation, is left out, and the time of the compilation is told beside the speed. Programs that
are not installed are skipped with a message:

    pip install -e '.[bench]'
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench import Bench, data_root
from builds import in_turn
from measure import HERE, Spread, machine, markdown, run, script

Found = dict[str, Any]
"""`examples_per_second`, images per second of processor time, and `mse`, of a pixel; and more."""

WIDTHS = "network.widths=[512,256]"
QUANTISED = (WIDTHS, "latent_dim=48", "likelihood=mse", "prior=fitted_codes")
FAMILIES = {
    "vq_vae": ("pythae", ("model=vq_vae", "posterior.code_dim=3", *QUANTISED)),
    "factor_vae": (
        "pythae",
        (
            "model=factor_vae",
            WIDTHS,
            "latent_dim=16",
            "objective.gamma=10",
            "objective.critic_betas=[0.9,0.999]",
        ),
    ),
    "topk": (
        "autoencoders",
        (
            "model=sparse_ae",
            "network.widths=[]",
            "latent_dim=256",
            "objective.k=16",
            "objective.aux_weight=0",
        ),
    ),
    "fsq": ("autoencoders", ("model=fsq", "posterior.levels=[8,8,8]", *QUANTISED)),
}
"""The package that has the family too, and what to type for vae-run."""

DECODED = {"factor_vae": 0.5}
"""Of each batch, the share of images that the other package decodes, where it is not all of it.

pythae's FactorVAE decodes one half, and permutes the codes of the other.
"""

FASTER = 1.5
"""The target ratio of speeds."""


def ours(bench: Bench, words: tuple[str, ...], epochs: int, seed: int, compiled: bool) -> Found:
    """What vae-run found in one training."""
    plain = ("dataset=mnist", f"dataset.root='{bench.root}'", "device=cpu", f"seed={seed}")
    end = (f"trainer.epochs={epochs}", f"trainer.evaluate_every={epochs}")
    quiet = ("evaluation.figures=[]", "evaluation.metrics=[objective,mse]")
    choice = f"trainer.compile={str(compiled).lower()}"
    found = bench.vae_run(*words, *plain, *end, *quiet, choice)
    seconds = found["last_step_cpu"] - found["first_step_cpu"]
    images = epochs * 54_000 * (found["steps"] - 1) / found["steps"]
    return {
        "examples_per_second": images / seconds,
        "mse": found["test"]["mse"],
        "first_step_cpu": found["first_step_cpu"],
        "compiled": found["compiled"],
    }


def theirs(bench: Bench, name: str, epochs: int, seed: int) -> Found:
    """What the other package found in one training."""
    command = script("family_peers.py", name, bench.root, epochs, seed)
    found: Found = json.loads(run(command, bench.threads).output)
    return found


def compared(bench: Bench, name: str, epochs: int) -> None:
    """The rows of a family."""
    package, words = FAMILIES[name]
    if importlib.util.find_spec(package) is None:
        bench.row(name, "not installed", detail="pip install '.[bench]'")
        return
    rounds = []
    for number in range(bench.rounds):
        contestants: dict[str, Callable[[], Found]] = {
            "eager": partial(ours, bench, words, epochs, number, False),
            "compiled": partial(ours, bench, words, epochs, number, True),
            "other": partial(theirs, bench, name, epochs, number),
        }
        rounds.append({each: contestants[each]() for each in in_turn([*contestants], number)})
    bench.raw[name] = rounds
    _row(bench, f"{name}: vae-run / {package}", name, rounds, "eager")
    what = f"{name}, compiled step: vae-run / {package}"
    if all(found["compiled"]["compiled"] for found in rounds):
        _row(bench, what, name, rounds, "compiled")
    else:
        bench.row(what, "not compiled", detail="train.log of such a run says why")


def _row(bench: Bench, what: str, name: str, rounds: list[dict[str, Found]], own: str) -> None:
    """The row of vae-run's steps of one kind, `own`."""

    def spread(program: str, key: str) -> Spread:
        return Spread.of([found[program][key] for found in rounds])

    pair = (own, "other")
    ratio = Spread.of_ratio(
        *([found[program]["examples_per_second"] for found in rounds] for program in pair)
    )
    speeds = " and ".join(spread(each, "examples_per_second").text(",.0f") for each in pair)
    mine, other = (spread(program, "mse") for program in pair)
    mark = "met" if mine.median <= other.median else "missed"
    said = f"{speeds} images/s; squared error {mine.text('.4f')} and {other.text('.4f')}"
    said += f", not higher: {mark}"
    if (share := DECODED.get(name)) is not None:
        said += (
            f"; the other decodes {share:.0%} of them: {ratio.median / share:.2f} times of these"
        )
    if own == "compiled":
        before = [
            found["compiled"]["first_step_cpu"] - found["eager"]["first_step_cpu"]
            for found in rounds
        ]
        said += f"; compiling took {Spread.of(before).text('.0f')} s"
    bench.marked(what, ratio, detail=said, least=FASTER)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--rounds", type=int, default=3, help="of all programs in turn (3)")
    parser.add_argument("--epochs", type=int, default=3, help="of each training (3)")
    output = HERE.parent / "outputs" / "families.json"
    parser.add_argument(
        "--output", type=Path, default=output, help="JSON; a .md file is written beside it"
    )
    arguments = parser.parse_args()
    folder = arguments.output.parent
    bench, where = Bench(1, arguments.rounds, data_root(), folder), machine(1)
    for name in arguments.only:
        print(name, file=sys.stderr, flush=True)
        compared(bench, name, arguments.epochs)
    about = ", ".join(f"{name} {value}" for name, value in where.items())
    text = (
        f"{about}\n\nMNIST, batches of 128, {arguments.epochs} epochs; speeds, and errors on test, "
        f"are the median (lowest - highest) of {arguments.rounds} rounds, each with its own seed."
        f"\n\n{markdown(('quantity', 'measured', 'mark', 'detail'), bench.rows)}\n"
    )
    print(f"\n{text}")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    report = {"machine": where, "rows": bench.rows, "raw": bench.raw}
    arguments.output.write_text(json.dumps(report, indent=2) + "\n")
    arguments.output.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()

"""Families of models in vae-run beside the same in other programs: their errors and speeds.

    python benchmarks/families.py [--only vq_vae factor_vae topk fsq] [--epochs 5] [--rounds 3]

Models, layers, data, batches, learning rate and epochs are equal (`family_peers.py`); losses and
initial weights are each program's own. Programs take turns, in processes of one thread. Speeds are
of training steps alone, by processor time, which other processes on the machine affect less than
the time of the clock; the first round is of all epochs, and gives the errors, the others are of one
epoch. Programs that are not installed are skipped with a message:

    pip install -e '.[bench]'
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

from bench import Bench, data_root
from measure import HERE, Spread, machine, markdown, run, script

WIDTHS = "network.widths=[512,256]"
QUANTISED = (WIDTHS, "latent_dim=48", "likelihood=mse", "prior=fitted_codes")
FAMILIES = {
    "vq_vae": ("pythae", ("model=vq_vae", "posterior.code_dim=3", *QUANTISED)),
    "factor_vae": ("pythae", ("model=factor_vae", WIDTHS, "latent_dim=16", "objective.gamma=10")),
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

REMARKS = {
    "factor_vae": "; of each batch pythae decodes one half, and permutes the codes of the other"
}

FASTER = 1.5
"""The target ratio of speeds."""


def ours(bench: Bench, words: tuple[str, ...], epochs: int) -> dict[str, Any]:
    """Images per second of processor time and squared error of a pixel, of vae-run."""
    plain = ("dataset=mnist", f"dataset.root='{bench.root}'", "device=cpu")
    end = (f"trainer.epochs={epochs}", f"trainer.evaluate_every={epochs}")
    quiet = ("trainer.compile=false", "evaluation.figures=[]", "evaluation.metrics=[objective,mse]")
    found = bench.vae_run(*words, *plain, *end, *quiet)
    seconds = found["last_step_cpu"] - found["first_step_cpu"]
    images = epochs * 54_000 * (found["steps"] - 1) / found["steps"]
    return {"examples_per_second": images / seconds, "mse": found["test"]["mse"]}


def compared(bench: Bench, name: str, first: int) -> None:
    """The row of a family; the first round is of `first` epochs."""
    package, words = FAMILIES[name]
    if importlib.util.find_spec(package) is None:
        bench.row(name, "not installed", detail="pip install '.[bench]'")
        return
    rounds = []
    for number in range(bench.rounds):
        epochs = first if number == 0 else 1
        own = ours(bench, words, epochs)
        command = script("family_peers.py", name, bench.root, epochs)
        rounds.append((own, json.loads(run(command, bench.threads).output)))
    bench.raw[name] = rounds
    speeds = [[found["examples_per_second"] for found in pair] for pair in rounds]
    own, other = zip(*speeds, strict=True)
    errors = [found["mse"] for found in rounds[0]]
    mark = "met" if errors[0] <= errors[1] else "missed"
    said = (
        f"{Spread.of(own).text(',.0f')} and {Spread.of(other).text(',.0f')} images/s; squared "
        f"error {errors[0]:.4f} and {errors[1]:.4f}, not higher: {mark}{REMARKS.get(name, '')}"
    )
    what, ratio = f"{name}: vae-run / {package}", Spread.of_ratio(own, other)
    bench.marked(what, ratio, detail=said, least=FASTER)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--rounds", type=int, default=3, help="of each pair (3)")
    parser.add_argument("--epochs", type=int, default=5, help="of the first round (5)")
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
        f"{about}\n\nMNIST, batches of 128; speeds are the median (lowest - highest) of "
        f"{arguments.rounds} rounds, errors those after {arguments.epochs} epochs on test, "
        f"one seed.\n\n{markdown(('quantity', 'measured', 'mark', 'detail'), bench.rows)}\n"
    )
    print(f"\n{text}")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    report = {"machine": where, "rows": bench.rows, "raw": bench.raw}
    arguments.output.write_text(json.dumps(report, indent=2) + "\n")
    arguments.output.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()

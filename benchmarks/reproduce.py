"""Reproduce published tables on this machine, and write docs/reproductions.md.

    python benchmarks/reproduce.py [--only NAME ...] [--table]

Each experiment is a sweep in `outputs/reproductions/NAME`, which the same command continues after
an interruption. `--table` only writes the page of what is there. Needs MNIST.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import shlex
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from measure import machine, markdown
from reproductions import REPRODUCTIONS, Expected, Reproduction
from sklearn.decomposition import PCA

from vae_run.comparison.statistics import Estimate, estimate
from vae_run.data.datasets.mnist import MNIST

ROOT = Path(__file__).resolve().parents[1]
OUTPUTS = ROOT / "outputs" / "reproductions"
PAGE = ROOT / "docs" / "reproductions.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"
COLUMNS = ("what", "expected", "ours", "verdict", "minutes", "command")


@dataclass(frozen=True)
class Told:
    """A group's mean over seeds, its interval, and the seconds that its jobs took."""

    estimate: Estimate
    seconds: float


def command(reproduction: Reproduction, outputs: Path) -> list[str]:
    """The words after `vae-run`."""
    words = ["-m", f"experiment={reproduction.experiment}"]
    if reproduction.experiment == "one_class":
        words += [*chosen_on_val(outputs / "one_class_choice"), "seed=range(3)"]
    return words


def chosen_on_val(sweep: Path) -> list[str]:
    """The setting of the sweep whose mean AUROC over the digits is greatest on val."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows_of(sweep):
        setting = row["corruption.level"], row["latent_dim"]
        found[setting].append(float(row["val/mse_auroc"]))
    level, dimensions = max(found, key=lambda setting: math.fsum(found[setting]))
    return [f"corruption.level={level}", f"latent_dim={dimensions}"]


def rows_of(sweep: Path) -> list[dict[str, str]]:
    """The completed jobs of a sweep, as `sweep.csv` has them; none where there is no sweep."""
    file = sweep / "sweep.csv"
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as opened:
        return [row for row in csv.DictReader(opened) if row["state"] == "completed"]


def told(reproduction: Reproduction, rows: Sequence[Mapping[str, str]]) -> dict[str, Told]:
    """What was measured of each group that has finished runs."""
    found = {}
    for name, values in reproduction.groups.items():
        mine = [row for row in rows if all(row[key] == v for key, v in values.items())]
        by_seed: dict[str, list[float]] = defaultdict(list)
        for row in mine:
            by_seed[row.get("seed", "0")].append(float(row[reproduction.quantity]))
        means = [math.fsum(seed) / len(seed) for seed in by_seed.values()]
        if means:
            seconds = math.fsum(float(row["job_seconds"]) for row in mine)
            found[name] = Told(estimate(means), seconds)
    return found


@lru_cache
def pca_score() -> float:
    """scikit-learn's mean log-likelihood of MNIST's test images under 10 principal components."""
    root = os.environ.get("VAE_RUN_DATA", "~/.cache/vae-run/data")  # as conf/dataset/mnist.yaml
    splits = MNIST(root=root, val_size=0).load()
    train, test = (
        split.images.flatten(1).to(torch.float64).numpy() / 255.0
        for split in (splits.train, splits.test)
    )
    return float(PCA(10, svd_solver="covariance_eigh").fit(train).score(test))


def expected(reproduction: Reproduction) -> Mapping[str, Expected]:
    """The published values; those of exact answers are computed."""
    if reproduction.experiment in ("ppca", "linear_vae"):
        return {name: Expected(pca_score()) for name in reproduction.groups}
    return reproduction.expected


def verdict(reproduction: Reproduction, ours: float, published: Expected) -> str:
    """Agreement by rule: within the published error, or the reproduction's own limit."""
    limit = max(reproduction.within, published.error or 0.0)
    difference = ours - published.value
    if abs(difference) <= limit:
        return "agrees"
    return f"differs by {difference:+.3g}"


def lines(reproduction: Reproduction, outputs: Path) -> list[dict[str, str]]:
    """The rows of the table for one experiment."""
    measured = told(reproduction, rows_of(outputs / reproduction.experiment))
    known = expected(reproduction) if measured else reproduction.expected
    digits = 4 if reproduction.experiment == "ppca" else 2 if reproduction.within > 0.01 else 3
    typed = ""
    if measured:
        typed = f"`vae-run {shlex.join(command(reproduction, outputs))}`"
    found = [
        {"what": f"**{reproduction.title}**", "expected": reproduction.source, "command": typed}
    ]
    for name in reproduction.groups:
        line = {"what": name, "ours": "not run"}
        if (published := known.get(name)) is not None:
            error = "" if published.error is None else f" ± {published.error:.{digits}f}"
            line["expected"] = f"{published.value:.{digits}f}{error}"
        if (mine := measured.get(name)) is not None:
            half = mine.estimate.half
            interval = "" if math.isnan(half) else f" ± {half:.{digits}f}"
            line["ours"] = f"{mine.estimate.mean:.{digits}f}{interval} (n = {mine.estimate.n})"
            line["minutes"] = f"{mine.seconds / 60:.1f}"
            if published is not None:
                line["verdict"] = verdict(reproduction, mine.estimate.mean, published)
        found.append(line)
    if reproduction.claim is not None and len(measured) == len(reproduction.groups):
        holds = reproduction.claim({name: t.estimate.mean for name, t in measured.items()})
        found[0]["verdict"] = "holds" if holds else "does not hold"
    return found


def write_page(page: Path, outputs: Path) -> None:
    """Put the table of what was run into the page, between its two marks."""
    table = markdown(COLUMNS, [row for one in REPRODUCTIONS for row in lines(one, outputs)])
    about = ", ".join(f"{name} {value}" for name, value in machine(1).items())
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n{table}\n\n{about}\n\n{END}{after}", encoding="utf-8")


def run(words: Sequence[str], sweep: Path) -> None:
    """Run or continue a sweep with one thread a job."""
    typed = [sys.executable, "-m", "vae_run", *words, f"sweep.dir={sweep}", "device=cpu"]
    print(f"vae-run {shlex.join(words)}", file=sys.stderr, flush=True)
    subprocess.run(typed, check=True, cwd=ROOT)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [one.experiment for one in REPRODUCTIONS]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--table", action="store_true", help="write the page, run nothing")
    parser.add_argument("--outputs", type=Path, default=OUTPUTS, help="folder of the sweeps")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write into")
    arguments = parser.parse_args()
    for one in REPRODUCTIONS if not arguments.table else ():
        if one.experiment not in arguments.only:
            continue
        if one.experiment == "one_class":
            choice = "one_class_choice"
            run(["-m", f"experiment={choice}"], arguments.outputs / choice)
        run(command(one, arguments.outputs), arguments.outputs / one.experiment)
        write_page(arguments.page, arguments.outputs)
    write_page(arguments.page, arguments.outputs)
    print(arguments.page)


if __name__ == "__main__":
    main()

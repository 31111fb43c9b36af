"""What each performance trick of vae-run saves: whole runs with it and without it, in turn.

    python benchmarks/tricks.py optimizer allocator spinning --rounds 5

`optimizer` removes torch's compiler guards from its optimisers (`vae_run.training.optimizers`),
`allocator` keeps freed memory in the process while a model is evaluated (`vae_run.system.memory`),
and `spinning` sets how long OpenMP threads spin before they sleep, which vae-run leaves to the
user (`OMP_WAIT_POLICY`): on an otherwise idle machine, and beside one busy process. Each round is
a pair, every other one in reverse order; the table has medians with lowest and highest. CPU time
is user and system time of the process, which other programs disturb less than they do elapsed time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from measure import Finished, Spread, machine, markdown, run, script

MNIST = ("dataset=mnist", "trainer.epochs=2", "device=cpu")
TRICKS: dict[str, Sequence[str]] = {
    "optimizer": ("device=cpu",),
    "allocator": MNIST,
    "spinning": (*MNIST, "evaluation.figures=[]"),
}
"""The run that each trick is measured on, as overrides of the default run on digits."""
COLUMNS = ("trick", "run", "with, s", "without, s", "elapsed time saved", "CPU time saved")


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Attributes:
        trick: a key of `TRICKS`.
        crowded: whether another process keeps one core busy meanwhile.
    """

    trick: str
    crowded: bool = False

    def measured(self, threads: int, *, applied: bool) -> Finished:
        """One run, with the trick or without it."""
        added = {}
        if self.trick == "spinning" and applied:
            added = {"OMP_WAIT_POLICY": "passive"}
        removed = "none" if applied or self.trick == "spinning" else self.trick
        with tempfile.TemporaryDirectory() as folder, _busy() if self.crowded else nullcontext():
            words = (*TRICKS[self.trick], f"hydra.run.dir={folder}/run")
            return run(script("tricks.py", "--without", removed, *words), threads, added=added)

    def row(self, threads: int, rounds: int) -> dict[str, str]:
        """Run all pairs."""
        found: dict[bool, list[Finished]] = {True: [], False: []}
        for number in range(rounds):
            for applied in (True, False) if number % 2 == 0 else (False, True):
                found[applied].append(self.measured(threads, applied=applied))
        with_it, without = found[True], found[False]
        elapsed = [1 - a.seconds / b.seconds for a, b in zip(with_it, without, strict=True)]
        cpu = [1 - a.cpu_seconds / b.cpu_seconds for a, b in zip(with_it, without, strict=True)]
        return {
            "trick": self.trick,
            "run": " ".join(TRICKS[self.trick]) + ", beside a busy process" * self.crowded,
            "with, s": Spread.of([one.seconds for one in with_it]).text(),
            "without, s": Spread.of([one.seconds for one in without]).text(),
            "elapsed time saved": Spread.of(elapsed).text(".1%"),
            "CPU time saved": Spread.of(cpu).text(".1%"),
        }


@contextmanager
def _busy() -> Iterator[None]:
    """A process that keeps one core busy."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def start(without: str, words: Sequence[str]) -> None:
    """Run `vae-run WORDS` without the tricks named in `without`, separated by commas.

    The same modules are imported for every value of `without`.
    """
    from vae_run.cli import main
    from vae_run.evaluation import codes
    from vae_run.training import optimizers

    removed = without.split(",")
    if "allocator" in removed:
        codes.keep_freed_memory = lambda: None
    if "optimizer" in removed:
        for optimizer in (optimizers.Adam, optimizers.AdamW, optimizers.SGD):
            del optimizer.step
        for name in ("add_param_group", "state_dict", "load_state_dict"):
            delattr(optimizers.UndecoratedOptimizer, name)
    sys.argv = ["vae-run", *words]
    main.main()


def main() -> None:
    if sys.argv[1:2] == ["--without"]:
        start(sys.argv[2], sys.argv[3:])
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("tricks", nargs="*", choices=[*TRICKS, []], help="default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    chosen = parser.parse_args()
    cases = [Case(name) for name in chosen.tricks or TRICKS]
    cases += [Case(case.trick, crowded=True) for case in cases if case.trick == "spinning"]
    print(", ".join(f"{name} {value}" for name, value in machine(chosen.threads).items()))
    print(markdown(COLUMNS, [case.row(chosen.threads, chosen.rounds) for case in cases]))


if __name__ == "__main__":
    main()

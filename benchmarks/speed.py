"""Compares the speed of vae-run with its last release and with other programs: `make bench`.

Every measurement is a separate process. Programs take turns, every other round in reverse order, so
that changes in the load of the machine affect all alike; ratios are computed within a round, and
printed as median, lowest and highest. Each row has a mark and says whether it was met, and the test
losses stand beside the speeds.

    make bench                                 the rows with marks, 25 minutes on two cores
    BASE=REVISION make bench                   compared with this revision
    make bench ARGS='--only digits startup'    some rows
    make bench ARGS=--quick                    whether every row works: its numbers mean nothing

The last release is the newest tag, or `builds.LAST_RELEASE` while there is none. Programs that are
not installed are left out with a message: pip install -e '.[bench]'
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from bench import QUICK, Bench, Sizes, data_root, small_mnist
from builds import last_release
from marks import GROUPS
from measure import HERE, machine, markdown
from others import OTHERS

MARKS = [name for names in GROUPS for name in names]
COLUMNS = ("quantity", "measured", "mark", "detail")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    rows = [*MARKS, *OTHERS]
    known = f"rows: {', '.join(MARKS)}; and further ones, which must be named: {', '.join(OTHERS)}"
    parser.add_argument("--only", nargs="+", choices=rows, default=MARKS, metavar="ROW", help=known)
    parser.add_argument("--rounds", type=int, default=3, help="of each paired measurement (3)")
    threads = min(2, os.cpu_count() or 1)
    parser.add_argument("--threads", type=int, default=threads, help=f"of a process ({threads})")
    base = os.environ.get("BASE") or last_release()
    parser.add_argument("--base", default=base, help=f"revision to compare with ({base})")
    parser.add_argument("--full", action="store_true", help="run all 16 jobs of the sweep")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one round")
    output = HERE.parent / "outputs" / "speed.json"
    parser.add_argument(
        "--output", type=Path, default=output, help="JSON; a .md file is written beside it"
    )
    return parser.parse_args()


def chosen_groups(bench: Bench, only: list[str]) -> Iterator[tuple[str, Callable[[], None]]]:
    """The functions that measure the chosen rows."""
    for names, function in GROUPS.items():
        rows = [name for name in names if name in only]
        if rows:
            yield ", ".join(rows), partial(function, bench, rows)
    for name, other in OTHERS.items():
        if name in only:
            yield name, partial(other, bench)


def measured(bench: Bench, only: list[str]) -> bool:
    """Measure the chosen rows; whether all of them could be measured."""
    failed = False
    for names, measure in chosen_groups(bench, only):
        print(names, file=sys.stderr, flush=True)
        started = time.monotonic()
        try:
            measure()
        except RuntimeError as error:  # the other rows are still measured
            failed = True
            print(f"speed.py: {error}", file=sys.stderr)
            bench.row(names, "failed", detail=str(error).splitlines()[-1])
        seconds = time.monotonic() - started
        bench.raw.setdefault("seconds", {})[names] = seconds
        print(f"  ({seconds:.0f} s)", file=sys.stderr, flush=True)
    return not failed


def main() -> None:
    arguments = parsed()
    where, started = machine(arguments.threads), time.monotonic()
    sizes = QUICK if arguments.quick else Sizes(seeds=16 if arguments.full else Sizes.seeds)
    rounds = 1 if arguments.quick else arguments.rounds
    with tempfile.TemporaryDirectory() as folder:
        root = small_mnist(Path(folder, "data")) if arguments.quick else data_root()
        bench = Bench(arguments.threads, rounds, root, Path(folder), arguments.base, sizes)
        whole = measured(bench, arguments.only)
    about = ", ".join(f"{name} {value}" for name, value in where.items())
    minutes = (time.monotonic() - started) / 60
    text = (
        f"{about}, base {arguments.base}\n\n"
        f"VAE 784-400-20-400-784 on MNIST, batch 128, Adam, unless stated otherwise; median "
        f"(lowest - highest) of up to {rounds} rounds; {minutes:.1f} minutes in all.\n\n"
        f"{markdown(COLUMNS, bench.rows)}\n"
    )
    if arguments.quick:
        text += "\nThese are tiny sizes: the numbers mean nothing.\n"
    print(f"\n{text}")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    typed = {key: str(value) for key, value in vars(arguments).items()}
    report: dict[str, Any] = {"machine": where, "arguments": typed}
    report |= {"rows": bench.rows, "raw": bench.raw, "minutes": minutes}
    arguments.output.write_text(json.dumps(report, indent=2) + "\n")
    arguments.output.with_suffix(".md").write_text(text)
    sys.exit(0 if whole else 1)


if __name__ == "__main__":
    main()

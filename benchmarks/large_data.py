"""Training from a cache file compared with training from memory, on a folder of generated images.

Speed is measured in one process that has the data in both ways: blocks of steps alternate, so that
a busy machine slows both alike; ratios are of adjacent blocks, and medians are reported. The file
cache of the system is warm. Memory is measured in separate processes, which train through the
command line: the private memory of a process (RssAnon of /proc) does not include a mapped file.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

CLASSES, PER_FILE_JOB, BATCH = 10, 2000, 128
WHERE = {"from memory": 1024.0, "from the cache": 0.0}
"""`dataset.memory`, in GiB, of the two contestants."""


def draw(root: Path, start: int, stop: int, side: int) -> None:
    """Uncompressed pictures start..stop of random blocks."""
    numbers = np.random.default_rng(start)
    header = f"P6 {side} {side} 255\n".encode()
    for number in range(start, stop):
        blocks = numbers.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
        pixels = blocks.repeat(8, axis=0).repeat(8, axis=1)
        path = root / f"class{number % CLASSES}" / f"{number:08d}.ppm"
        path.write_bytes(header + pixels.tobytes())


def make(root: Path, images: int, side: int) -> None:
    """`images` files below `root`."""
    for number in range(CLASSES):
        (root / f"class{number}").mkdir(parents=True)
    starts = range(0, images, PER_FILE_JOB)
    with ProcessPoolExecutor() as pool:
        jobs = [pool.submit(draw, root, i, min(i + PER_FILE_JOB, images), side) for i in starts]
        for job in jobs:
            job.result()


def watched(command: list[str], threads: int) -> tuple[str, float, float]:
    """Standard output of a command, and the peaks of its own and its file memory in MB."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command, stdout=said, stderr=subprocess.STDOUT, text=True, env=environment
        )
        peaks = {"RssAnon": 0, "RssFile": 0}
        while process.poll() is None:
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            for line in lines:
                name, _, value = line.partition(":")
                if name in peaks:
                    peaks[name] = max(peaks[name], int(value.split()[0]))
            time.sleep(0.02)
        said.seek(0)
        output = said.read()
    if process.returncode != 0:
        sys.exit(f"large_data.py: this command failed: {' '.join(command)}\n{output}")
    return output, peaks["RssAnon"] / 1e3, peaks["RssFile"] / 1e3


def trained(root: Path, side: int, memory: float, steps: int, threads: int) -> list[str]:
    """The program itself, as a user starts it: speed, and memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run")
        overrides = ["dataset=image_folder", f"dataset.path='{root}'", f"dataset.image_size={side}"]
        overrides += [f"dataset.memory={memory}", "likelihood=gaussian", f"trainer.steps={steps}"]
        overrides += ["evaluation.metrics=[objective]", "evaluation.figures=[]", "device=cpu"]
        overrides += [f"hydra.run.dir='{run}'"]
        _, anon, file = watched([sys.executable, "-m", "vae_run", *overrides], threads)
    return [f"{anon:,.0f}", f"{file:,.0f}"]


def stepper(pixels: int) -> Callable[[Any], None]:
    """A training step of a small autoencoder on the next batch of a source of batches."""
    import torch

    net = torch.nn.Sequential(
        torch.nn.Flatten(),
        *(torch.nn.Linear(pixels, 512), torch.nn.ReLU(), torch.nn.Linear(512, 16)),
        *(torch.nn.Linear(16, 512), torch.nn.ReLU(), torch.nn.Linear(512, pixels)),
    )
    optimizer = torch.optim.Adam(net.parameters(), fused=True)

    def step(source: Any) -> None:
        batch = source.next()
        optimizer.zero_grad()
        (net(batch.input) - batch.target.flatten(1)).square().mean().backward()
        optimizer.step()

    return step


def paired(root: str, side: str, blocks: str) -> None:
    """Print images per second of blocks of batches and of steps, from memory and the cache."""
    from vae_run.corruptions import NoCorruption
    from vae_run.data.batches import TrainingBatches
    from vae_run.data.datasets.image_folder import ImageFolder

    split = ImageFolder(path=root, image_size=int(side), memory=0).load().train
    splits = {"from memory": split.in_memory(), "from the cache": split}
    sources = {
        place: TrainingBatches(found, NoCorruption(), batch_size=BATCH, noise=(1, 16), seed=0)
        for place, found in splits.items()
    }
    step = stepper(3 * int(side) ** 2)
    for source in sources.values():  # touch every page once
        for _ in range(source.steps_per_epoch):
            source.next()
    found: dict[str, dict[str, list[float]]] = {}
    kinds = {"batches alone": (TrainingBatches.next, 100), "training": (step, 10)}
    for number in range(int(blocks)):
        for name, (do, length) in kinds.items():
            order = list(sources) if number % 2 == 0 else list(sources)[::-1]
            for place in order:
                started = time.perf_counter()
                for _ in range(length):
                    do(sources[place])
                rate = length * BATCH / (time.perf_counter() - started)
                found.setdefault(name, {}).setdefault(place, []).append(rate)
    print(json.dumps(found))


def rows(found: dict[str, dict[str, list[float]]]) -> str:
    """Medians as rows of a Markdown table."""
    lines = []
    for name, places in found.items():
        for place, rates in places.items():
            pairs = zip(rates, places["from memory"], strict=True)
            ratio = statistics.median(mine / memory for mine, memory in pairs)
            lines.append(f"| {name} {place} | {statistics.median(rates):,.0f} | {ratio:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=200_000, help="images of the set (200,000)")
    parser.add_argument("--side", type=int, default=32, help="their height and width (32)")
    parser.add_argument("--blocks", type=int, default=40, help="pairs of blocks (40)")
    parser.add_argument("--steps", type=int, default=100, help="of a training (100)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of each (all)")
    parser.add_argument("--folder", type=Path, help="where the set is made (a temporary folder)")
    parser.add_argument("--set", type=Path, help="a folder of images that is there already")
    arguments = parser.parse_args()
    side, threads = arguments.side, arguments.threads
    place = Path(tempfile.mkdtemp(prefix="large-data-", dir=arguments.folder))
    try:
        root, started = arguments.set or place / "images", time.perf_counter()
        if arguments.set is None:
            make(root, arguments.images, side)
            print(f"{arguments.images:,} files written in {time.perf_counter() - started:.1f} s")
        started = time.perf_counter()
        command = [sys.executable, __file__, "--paired", str(root), str(side)]
        watched([*command, "0"], threads)
        print(f"decoded (or found), and read twice, in {time.perf_counter() - started:.1f} s\n")
        print("| what | images/s | ratio |\n| --- | ---: | ---: |")
        output, _, _ = watched([*command, str(arguments.blocks)], threads)
        print(rows(json.loads(output.splitlines()[-1])), flush=True)
        print("\n| a training | own memory, MB | of files, MB |\n| --- | ---: | ---: |")
        for where, memory in WHERE.items():
            figures = trained(root, side, memory, arguments.steps, threads)
            print(f"| {where} | {' | '.join(figures)} |", flush=True)
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    if "--paired" in sys.argv:
        paired(*sys.argv[2:])
    else:
        main()

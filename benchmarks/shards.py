"""Training from tar shards compared with training from memory, on generated JPEG files.

Speed is measured in one process that has the data in both ways: blocks of steps alternate, so that
a busy machine slows both alike; ratios are of adjacent blocks, and medians are reported. The file
cache of the system is warm. Memory is that of trainings through the command line (RssAnon of
/proc).
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from large_data import stepper, watched
from PIL import Image

BATCH, PER_SHARD = 128, 1000


def make(root: Path, images: int, side: int) -> None:
    """Shards of smooth random colours; the last is the test set."""
    import webdataset

    numbers = np.random.default_rng(0)
    with webdataset.ShardWriter(f"{root}/%05d.tar", maxcount=PER_SHARD, verbose=0) as shards:
        for number in range(images + PER_SHARD):
            blocks = numbers.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            picture = Image.fromarray(blocks).resize((side, side), Image.Resampling.BICUBIC)
            file = io.BytesIO()
            picture.save(file, "JPEG")
            shards.write({"__key__": f"{number:09d}", "jpg": file.getvalue(), "cls": number % 10})


def options(root: Path, images: int, side: int) -> dict[str, Any]:
    """Of `dataset=shards`, for the first `images`."""
    last = sorted(root.glob("*.tar"))[-1].name
    train = f"{{00000..{images // PER_SHARD - 1:05d}}}.tar"
    return {"path": str(root), "train": train, "test": last, "image_size": side}


def speed(root: Path, images: int, side: int, blocks: int) -> None:
    """Print the speed of reading, and images per second of blocks of batches and of steps."""
    from vae_run.corruptions import NoCorruption
    from vae_run.data.batches import TrainingBatches
    from vae_run.data.datasets.shards import Shards
    from vae_run.data.streamed_batches import StreamedBatches

    splits = Shards(**options(root, images, side), images=images, sample=images).load()
    stream = splits.stream
    assert stream is not None
    _reading(stream)
    given: dict[str, Any] = {"batch_size": BATCH, "noise": (1, 16), "seed": 0}
    sources = {
        "from memory": TrainingBatches(splits.train, NoCorruption(), **given),
        "from shards": StreamedBatches(stream, splits.train, NoCorruption(), **given),
    }
    step = stepper(3 * side**2)
    print("\n| what | images/s | ratio |\n| --- | ---: | ---: |")
    for kind, do in (("batches alone", TrainingBatches.next), ("training", step)):
        rates: dict[str, list[float]] = {place: [] for place in sources}
        for number in range(blocks):
            for place in list(sources)[:: 1 if number % 2 else -1]:
                source, images_done, started = sources[place], 0, time.perf_counter()
                for _ in range(40):  # up to 4 of these batches are decoded in advance
                    if do is step:
                        step(source)
                    else:
                        source.next()
                    images_done += BATCH
                rates[place].append(images_done / (time.perf_counter() - started))
        for place, own in rates.items():
            pairs = zip(own, rates["from memory"], strict=True)
            ratio = statistics.median(mine / memory for mine, memory in pairs)
            print(f"| {kind} {place} | {statistics.median(own):,.0f} | {ratio:.2f} |", flush=True)


def _reading(stream: Any) -> None:
    """Print how fast samples are counted, and read without decoding."""
    from vae_run.data.webdataset import tar_shards

    reading: dict[str, list[float]] = {"counted by headers": [], "read again, undecoded": []}
    for epoch in range(3):
        for name, rates in reading.items():
            started = time.perf_counter()
            if name.startswith("counted"):
                found = sum(map(tar_shards.count, stream.shards))
            else:
                found = sum(1 for _ in stream.epoch(0, epoch))
            rates.append(found / (time.perf_counter() - started))
    for name, rates in reading.items():
        print(f"{name}: {statistics.median(rates):,.0f} images/s")


def memory(root: Path, images: int, side: int, threads: int) -> float:
    """MB of its own that a training on the first `images` takes at most."""
    given = options(root, images, side)
    with tempfile.TemporaryDirectory() as folder:
        words = [f"dataset.{key}={value}" for key, value in given.items() if key != "train"]
        command = [
            *(
                sys.executable,
                "-m",
                "vae_run",
                "dataset=shards",
                f'dataset.train="{given["train"]}"',
            ),
            *(*words, "dataset.sample=1000", "dataset.buffer=1000", "trainer.epochs=1"),
            *("device=cpu", "evaluation.figures=[]", f"hydra.run.dir={folder}/run"),
            *("evaluation.metrics=[objective,mse]",),
        ]
        said, own, _ = watched(command, threads)
        assert (Path(folder) / "run" / "metrics.json").exists(), said
        return own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000, help="of the set (20,000)")
    parser.add_argument("--side", type=int, default=64, help="their height and width (64)")
    parser.add_argument("--blocks", type=int, default=10, help="pairs of blocks (10)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of torch (all)")
    arguments = parser.parse_args()
    images, side = arguments.images, arguments.side
    root = Path(tempfile.mkdtemp(prefix="shards-"))
    try:
        make(root, images, side)
        import torch

        torch.set_num_threads(arguments.threads)
        speed(root, images, side, arguments.blocks)
        print("\n| a training on | own memory, MB |\n| --- | ---: |")
        for part in (images // 10, images):
            print(f"| {part:,} images | {memory(root, part, side, arguments.threads):,.0f} |")
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()

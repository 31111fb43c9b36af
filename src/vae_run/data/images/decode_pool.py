"""Decoding of image files into memory by threads, or into files by processes.

The processes are not those of `concurrent.futures.ProcessPoolExecutor`: when their parent is
killed, its workers stay (tested with `spawn` and `forkserver`), whereas a process of
`vae_run.data.images.decoder` ends when its standard input is closed. It does not import torch.
"""

import json
import queue
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vae_run.data.checks import refuse_more_than_memory
from vae_run.data.images.decoder import Decoder
from vae_run.errors import DataError
from vae_run.system.hardware import cores

_CHUNK = 64


def decode_images(paths: Sequence[Path], decoder: Decoder) -> Tensor:
    """The image files as uint8 [N, C, H, W], in the order of `paths`.

    Raises:
        DataError: a file cannot be decoded, or has more than 8 bits a channel; or the images take
            more memory than this process is granted.
    """
    refuse_more_than_memory(len(paths) * decoder.size, f"{paths[0].parent}" if paths else "images")
    images = np.empty((len(paths), *decoder.shape), dtype=np.uint8)

    def decode(start: int) -> None:
        for place in range(start, min(start + _CHUNK, len(paths))):
            images[place] = decoder(paths[place])

    with ThreadPoolExecutor(min(32, cores())) as pool:
        for _ in pool.map(decode, range(0, len(paths), _CHUNK)):
            pass  # raises the error of the first damaged file, and cancels the remaining calls
    return torch.from_numpy(images)


@dataclass(frozen=True)
class Job:
    """Images to decode into `file`, the first at the byte `offset`."""

    file: Path
    offset: int
    paths: Sequence[Path]


def decode_to_files(jobs: Sequence[Job], decoder: Decoder) -> Iterator[int]:
    """Run the jobs in one process per core; yields the number of images of each finished job.

    Raises:
        DataError: a file cannot be decoded or written, or a process was killed.
    """
    idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()

    def work(job: Job) -> int:
        worker = idle.get()
        try:
            worker.do(job)
        finally:
            idle.put(worker)
        return len(job.paths)

    count = min(cores(), len(jobs))
    with _workers(count, decoder) as workers, ThreadPoolExecutor(count) as pool:
        for worker in workers:
            idle.put(worker)
        try:
            yield from pool.map(work, jobs)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _workers(count: int, decoder: Decoder) -> Iterator[list["_Worker"]]:
    workers = [_Worker(decoder) for _ in range(count)]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    """A process of `vae_run.data.images.decoder`."""

    def __init__(self, decoder: Decoder) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "vae_run.data.images.decoder"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        self._send({"decoder": asdict(decoder)})

    def _send(self, order: dict[str, object]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def do(self, job: Job) -> None:
        """Run one job.

        Raises:
            DataError: it failed, or the process was killed.
        """
        order = {"file": str(job.file), "offset": job.offset, "paths": [str(p) for p in job.paths]}
        try:
            self._send(order)
            assert self.process.stdout is not None
            answer = self.process.stdout.readline()
        except OSError:  # the pipe is broken
            answer = ""
        if not answer:
            raise DataError(
                f"a process that decoded images was killed (exit code {self.process.wait()}) at "
                f"or after {job.paths[0]}; if it was short of memory, make large images smaller"
            )
        if (failed := json.loads(answer)) is not None:
            raise DataError(failed)

    def end(self) -> None:
        """Kill the process."""
        self.process.kill()
        self.process.communicate()

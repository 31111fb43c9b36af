"""MATLAB files, read in a separate process: a damaged one can crash scipy's reader.

`python -m vae_run.data.matlab_reader FILE NAME...` writes the arrays to standard output as .npy.
"""

import importlib
import io
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_run.errors import DataError


def read_arrays(path: Path, names: Sequence[str]) -> list[NDArray[Any]]:
    """The arrays `names` of the file `path`.

    Raises:
        ValueError: it cannot be read, or lacks one of the arrays.
    """
    command = [
        sys.executable,
        "-P",
        "-W",
        "ignore",
        "-m",
        "vae_run.data.matlab_reader",
        str(path),
    ]
    done = subprocess.run([*command, *names], capture_output=True, check=False)
    if done.returncode < 0:
        raise ValueError(f"its reader crashed (signal {-done.returncode})")
    if b"HDF reader" in done.stderr:
        raise DataError(
            f"{path} is a MATLAB 7.3 file, which scipy does not read. In MATLAB save it again with "
            "save(..., '-v7'), or convert it with the Python package h5py."
        )
    if done.returncode:
        raise ValueError(done.stderr.decode(errors="replace").strip().rpartition("\n")[2])
    file = io.BytesIO(done.stdout)
    return [np.load(file, allow_pickle=False) for _ in names]


def main(file: str, *names: str) -> None:
    """Write the arrays `names` of `file` to standard output."""
    found = importlib.import_module("scipy.io").loadmat(file, variable_names=names)
    for name in names:
        np.save(sys.stdout.buffer, found[name], allow_pickle=False)


if __name__ == "__main__":
    main(*sys.argv[1:])

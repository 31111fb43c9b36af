"""The printed scripts, each in a process that has no vae-run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from exported import small

from vae_run.exports import Source, export

pytestmark = pytest.mark.scale

BLOCKED = """\
import sys
for name in ("vae_run", "hydra", "omegaconf"):
    sys.modules[name] = None  # an import of it fails
sys.argv = sys.argv[1:]
exec(compile(open(sys.argv[0]).read(), sys.argv[0], "exec"))
assert not [n for n in sys.modules if n.split(".")[0] == "vae_run" and sys.modules[n]]
"""


def run(script: str, folder: Path, *words: str) -> str:
    """What the script prints, run in `folder` by a Python that ignores PYTHONPATH."""
    (folder / "use.py").write_text(script, encoding="utf-8")
    assert len([line for line in script.splitlines() if line.strip()]) <= 40
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, "-I", "-c", BLOCKED, "use.py", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source() -> Source:
    return small("model=vae", "condition=label")


@pytest.mark.parametrize("ending", ["onnx", "pt2"])
def test_a_script_computes_what_the_model_does(source: Source, ending: str, tmp_path: Path) -> None:
    if ending == "onnx":
        pytest.importorskip("onnxruntime")
    done = export(source, tmp_path / f"m.{ending}")
    script = done.script.replace(str(done.path), done.path.name)
    x, label = torch.rand(3, 1, 4, 5), torch.tensor([2, 0, 5])
    np.savez(tmp_path / "in.npz", x=x.numpy(), label=label.numpy())
    said = run(script, tmp_path, "in.npz", "out.npz")
    assert "reconstruction float32 (3, 1, 4, 5)" in said
    with np.load(tmp_path / "out.npz") as found:
        np.testing.assert_allclose(found["mean"], source.model.encode(x, label).mean, atol=1e-6)
        right = source.model.reconstruct(x, label)
        np.testing.assert_allclose(found["reconstruction"], right, atol=1e-6)
    if ending == "onnx":  # and with inputs of its own
        assert "mean float32 (4, 3)" in run(script, tmp_path)


def test_the_script_of_weights_builds_plain_networks(tmp_path: Path) -> None:
    source = small("model=vae", "network=conv")
    done = export(source, tmp_path / "m.safetensors")
    said = run(done.script.replace(str(done.path), "m.safetensors"), tmp_path, "out.pt")
    assert "range: pixels in [0, 1]" in said
    found = torch.load(tmp_path / "out.pt", weights_only=True)
    torch.testing.assert_close(found["mean"], source.model.encode(found["x"]).mean)
    torch.testing.assert_close(found["decoded"], source.model.reconstruct(found["x"]))


def test_the_script_of_other_weights_lists_them(source: Source, tmp_path: Path) -> None:
    """It is the first half of that of plain networks, which is run above."""
    done = export(source, tmp_path / "m.safetensors")
    assert "the layers of this run need more" in done.script
    assert done.script.rstrip().endswith("print(name, tensor.dtype, list(tensor.shape))")

"""`task=export`: what it writes, prints and refuses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from vae_run import load
from vae_run.exports import from_pretrained, save_pretrained, source_of

if TYPE_CHECKING:
    from conftest import Run


def test_a_run_is_written_and_the_script_printed(vae: Path, vae_run: Run, tmp_path: Path) -> None:
    words = ("task=export", f"run={vae}", "output=new/vae.pt2", "script=use.py")
    finished = vae_run(*words, cwd=tmp_path)
    assert finished.code == 0, finished.said
    assert "torch_export in new/vae.pt2 (" in finished.out
    assert "it differs from the model by " in finished.out
    script = (tmp_path / "use.py").read_text()
    assert script in finished.out
    assert "torch.export.load('new/vae.pt2'" in script
    model = torch.export.load(tmp_path / "new" / "vae.pt2").module()
    x = torch.rand(2, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(model(x)[0], load(vae).encode(x).mean)
    again = vae_run(*words, "checkpoint=last", "part=encoder", cwd=tmp_path)
    assert again.code == 0, again.said  # both files say that vae-run wrote them
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["use.py", "vae.pt2"]


def test_safetensors_and_folders_of_a_run(vae: Path, vae_run: Run, tmp_path: Path) -> None:
    words = ("task=export", f"run={vae}", "format=safetensors", "output=vae.safetensors")
    finished = vae_run(*words, cwd=tmp_path)
    assert finished.code == 0, finished.said
    x, right = torch.rand(2, 1, 8, 8), load(vae)
    for place in (tmp_path / "vae.safetensors", save_pretrained(source_of(vae), tmp_path / "f")):
        assert torch.equal(from_pretrained(place).reconstruct(x), right.reconstruct(x))
    card = (tmp_path / "f" / "README.md").read_text()
    assert "library_name: vae-run" in card
    assert "| elbo |" in card
    assert str(vae.parent) not in card + (tmp_path / "f" / "config.json").read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("output=x.bin",), "output: found x.bin, expected a name that ends in .onnx or .pt2"),
        (("output=x.pt2", "format=onnx"), "output: found x.pt2, expected a name that ends in"),
        (("output=mine.pt2",), "output: mine.pt2 exists, and it does not say that vae-run"),
        (("output=x.pt2", "script=mine.py"), "script: mine.py exists, and it does not say"),
        (("output=x.pt2", "latent_dim=3"), "latent_dim: task=export takes the model as the run"),
        (("output=x.pt2", "part=head"), "part: "),
        (("output=/proc/x.pt2",), "/proc/x.pt2"),
    ],
)
def test_what_is_refused(
    words: tuple[str, ...], told: str, vae: Path, vae_run: Run, tmp_path: Path
) -> None:
    mine = [tmp_path / "mine.pt2", tmp_path / "mine.py"]
    for file in mine:
        file.write_text("mine")
    finished = vae_run("task=export", f"run={vae}", *words, cwd=tmp_path)
    assert finished.code == 1
    assert told in finished.said.replace("\n", " ")
    assert sorted(tmp_path.iterdir()) == mine
    assert [file.read_text() for file in mine] == ["mine", "mine"]

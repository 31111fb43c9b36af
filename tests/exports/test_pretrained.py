"""Safetensors files and folders: the same model again, and nothing but data from strangers."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from exported import of_own_units, of_table, small
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from vae_run.errors import CheckpointError, ConfigError, RunError
from vae_run.exports import Source, export, push_to_hub, save_pretrained
from vae_run.exports import from_pretrained as untrusting
from vae_run.exports.pretrained import WEIGHTS
from vae_run.system.array_archive import is_marked

from_pretrained = partial(untrusting, trust=["parts"])  # whose dataset the configurations name


def same(model: torch.nn.Module, other: torch.nn.Module) -> None:
    found, wanted = other.state_dict(), model.state_dict()
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize(
    "words", [("model=vae",), ("model=vq_vae",), ("model=factor_vae", "condition=label")]
)
def test_a_file_holds_the_whole_model(words: tuple[str, ...], tmp_path: Path) -> None:
    source = small(*words)
    path = export(source, tmp_path / "x.safetensors").path
    assert is_marked(path)
    same(source.model, model := from_pretrained(path))
    assert not model.training
    x, label = torch.rand(2, 1, 4, 5), torch.tensor([1, 3])
    given = (label,) if source.model.classes is not None else ()
    assert torch.equal(model.reconstruct(x, *given), source.model.reconstruct(x, *given))


def test_conditions_and_tables_come_back(tmp_path: Path) -> None:
    source = of_own_units(tmp_path, "condition=[age,sex]")
    model = from_pretrained(export(source, tmp_path / "x.safetensors").path)
    z, given = torch.randn(1, 3), {"age": [33.0], "sex": ["f"]}
    assert torch.equal(model.decode(z, given).mean, source.model.decode(z, given).mean)
    torch.manual_seed(0)
    first = model.sample(5)
    torch.manual_seed(0)
    assert torch.equal(source.model.sample(5), first)
    table = of_table(tmp_path)
    same(table.model, from_pretrained(export(table, tmp_path / "y.safetensors").path))


def test_a_folder_for_the_hub(tmp_path: Path) -> None:
    source = replace(small("model=vae"), name="digits")
    folder = save_pretrained(source, tmp_path / "new" / "folder", repository="me/digits")
    assert sorted(file.name for file in folder.iterdir()) == ["README.md", "config.json", WEIGHTS]
    same(source.model, from_pretrained(folder))
    config = json.loads((folder / "config.json").read_text())
    assert config["configuration"]["latent_dim"] == 3
    text = (folder / "README.md").read_text()
    assert text.startswith("---\nlibrary_name: vae-run\ntags: [autoencoder, vae]\n---\n\n# digits")
    assert 'from_pretrained("me/digits")' in text
    assert "| elbo |  | −12 | nats per image |" in text
    assert "| mse | 0.25000 | 0.50000 | per pixel |" in text
    save_pretrained(source, folder)  # replaces what is there


def test_a_folder_keeps_the_files_of_others(vae: Source, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# My project\n")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"has config\.json and README\.md, .*overwrite=True"):
        save_pretrained(vae, tmp_path)
    assert (tmp_path / "README.md").read_text() == "# My project\n"
    assert not (tmp_path / WEIGHTS).exists()
    save_pretrained(vae, tmp_path, overwrite=True)
    assert all(is_marked(file) for file in tmp_path.iterdir())


def test_a_version_in_a_repositorys_name_is_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")
    asked = []

    def download(repository: str, name: str, revision: str | None) -> str:
        asked.append(repository)
        raise OSError("no network")

    monkeypatch.setattr(hub, "hf_hub_download", download)
    with pytest.raises(CheckpointError, match="cannot be read from the hub: no network"):
        from_pretrained("me/vae-mnist-v1.5")
    assert asked == ["me/vae-mnist-v1.5"]
    with pytest.raises(CheckpointError, match="there is no such file"):
        from_pretrained("me/vae.safetensors")


def changed(source: Source, path: Path, key: str, change: Any) -> Path:
    """A file of `source` whose metadata `key` is what `change` makes of it."""
    export(source, path)
    with safe_open(path, framework="pt") as file:
        told = dict(file.metadata())
    told[key] = change(told[key])
    save_file(load_file(path), path, told)
    return path


def target(part: str, name: str) -> Any:
    def change(text: str) -> str:
        config = json.loads(text)
        config[part]["_target_"] = name
        return json.dumps(config)

    return change


@pytest.fixture(scope="module")
def vae() -> Source:
    return small("model=vae")


@pytest.mark.parametrize("part", ["network", "likelihood", "dataset", "evaluation"])
@pytest.mark.parametrize("name", ["trap.Class", "os.system", "vae_run.exports.hub.push_to_hub"])
def test_a_strangers_file_names_only_parts(
    vae: Source, tmp_path: Path, part: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trap.py").write_text("raise SystemExit('code of the file was executed')\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = changed(vae, tmp_path / "x.safetensors", "configuration", target(part, name))
    with pytest.raises(ConfigError, match=f"{part}._target_"):
        from_pretrained(path)


def test_trust_is_for_the_package_that_is_named(
    vae: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_networks.py").write_text(
        "from vae_run.models.networks import MLP\nclass Own(MLP):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    change = target("network", "own_networks.Own")
    path = changed(vae, tmp_path / "x.safetensors", "configuration", change)
    with pytest.raises(ConfigError, match="trust"):
        from_pretrained(path)
    same(vae.model, from_pretrained(path, trust=["own_networks", "parts"]))


@pytest.mark.parametrize(
    ("key", "text", "told"),
    [
        ("configuration", "[" * 100_000, "its metadata hold no configuration"),
        ("configuration", "3", "configuration of its metadata is no mapping"),
        ("state", "not JSON", "its metadata hold no state"),
        ("state", "{}", "not one of this run"),
        ("state", '{"event_shape": [1, 9, 9]}', "configured model expects"),
        ("state", '{"event_shape": "ab"}', "not one of this run"),
    ],
)
def test_what_a_file_holds_is_checked(
    vae: Source, tmp_path: Path, key: str, text: str, told: str
) -> None:
    path = changed(vae, tmp_path / "x.safetensors", key, lambda _: text)
    with pytest.raises(CheckpointError, match=told):
        from_pretrained(path)


def test_files_that_are_none(vae: Source, tmp_path: Path) -> None:
    whole = export(vae, tmp_path / "x.safetensors").path
    whole.write_bytes(whole.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="is no whole safetensors file"):
        from_pretrained(whole)
    save_file({"a": torch.zeros(1)}, tmp_path / "y.safetensors")
    with pytest.raises(CheckpointError, match="vae-run did not write it"):
        from_pretrained(tmp_path / "y.safetensors")
    for name in (tmp_path, tmp_path / "z.safetensors", "./a/b", "nothing"):
        with pytest.raises(CheckpointError, match="there is no such file, and no folder with"):
            from_pretrained(name)


def test_a_hub_that_cannot_be_reached(vae: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(RunError, match="me/digits: cannot be uploaded to the hub: "):
        push_to_hub(vae, "me/digits")
    with pytest.raises(CheckpointError, match="me/digits: cannot be read from the hub: "):
        from_pretrained("me/digits")

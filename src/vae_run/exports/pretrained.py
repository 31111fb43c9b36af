"""A model built again from a safetensors file, a folder, or a repository of the Hugging Face hub.

Files are data, from whomever they are: no code of theirs runs, and they name only classes of
vae-run, or of packages that the caller trusts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor

from vae_run.config.check import check
from vae_run.config.renamed import ADDED, updated
from vae_run.errors import CheckpointError, first_line
from vae_run.exports.packages import need
from vae_run.exports.weights import EXAMPLES, LARGEST_HEADER, header_size
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.runs.load import load_model
from vae_run.runs.saved_json import refuse_many_groups
from vae_run.system.device import choose_device
from vae_run.system.hardware import available_memory

WEIGHTS = "model.safetensors"
"""The file of weights in a folder."""


def from_pretrained(
    source: str | os.PathLike[str],
    device: str = "cpu",
    trust: Iterable[str] = (),
    revision: str | None = None,
) -> LatentVariableModel:
    """The model of `source` in eval mode, bit for bit the one that was saved.

    Args:
        source: a `.safetensors` file of `task=export`, a folder of `save_pretrained`, or the name
            OWNER/NAME of a repository on the Hugging Face hub.
        device: as the `device` key: "auto", "cpu", "cuda", "cuda:N" or "mps".
        trust: packages, besides vae-run, whose classes the configuration may name.
        revision: branch, tag or commit of a repository; None: its main branch.

    Raises:
        CheckpointError: there is no such file, or it is damaged or another program's.
        ConfigError: a package is missing, or the configuration is wrong or names classes that are
            not trusted.
    """
    need("from_pretrained", ["safetensors"], "export")
    file = _file(str(source), revision)
    tensors, told = _read(file)
    config, state = (_mapping(file, told, key) for key in ("configuration", "state"))
    settings = check({**updated(config), **ADDED}, trust=tuple(trust), trained=True)
    examples = tensors.pop(EXAMPLES, None)
    if isinstance(state.get("conditions"), dict):
        state["conditions"]["examples"] = examples
    model = load_model(settings, {**state, "model": tensors}, file)
    return model.to(choose_device(device)).eval()


def _file(source: str, revision: str | None) -> Path:
    """The file of weights on this machine."""
    path = Path(source).expanduser()
    if path.is_dir():
        path = path / WEIGHTS
    if path.is_file():
        return path
    if (
        source.count("/") != 1
        or source.startswith((".", "~", "/"))
        or path.suffix == ".safetensors"
    ):
        raise CheckpointError(
            f"{source}: there is no such file, and no folder with {WEIGHTS}. Name one that "
            "save_pretrained or task=export made, or OWNER/NAME of the Hugging Face hub."
        )
    need(f"{source} of the Hugging Face hub", ["huggingface_hub"], "hub")
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(source, WEIGHTS, revision=revision))
    except Exception as error:  # of the network, of the hub, of the name
        raise CheckpointError(
            f"{source}: cannot be read from the hub: {first_line(error)}"
        ) from error


def _read(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of `file` and its metadata."""
    from safetensors import SafetensorError, safe_open

    size, available = file.stat().st_size, available_memory()
    if size > available:
        raise CheckpointError(
            f"{file}: has {size / 2**30:,.1f} GiB, and {available / 2**30:,.1f} GiB of memory are "
            "available. Free some memory, or use a machine with more."
        )
    try:
        with file.open("rb") as raw:
            header = header_size(raw.read(8))
        if header > LARGEST_HEADER:
            raise ValueError(
                f"its header claims {header:,} bytes, more than the {LARGEST_HEADER:,} accepted"
            )
        with safe_open(file, framework="pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            return tensors, dict(opened.metadata() or {})
    except (OSError, SafetensorError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{file}: is no whole safetensors file: {error}") from error


def _mapping(file: Path, told: dict[str, str], key: str) -> dict[str, Any]:
    """The mapping that the text `key` of the metadata holds.

    Raises:
        CheckpointError: there is none.
    """
    try:
        refuse_many_groups(told[key], f"{file}: {key} of its metadata")
        found = json.loads(told[key])
    except (LookupError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{file}: its metadata hold no {key}, so that vae-run did not write it. Use a file of "
            "task=export or save_pretrained."
        ) from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{file}: {key} of its metadata is no mapping.")
    return found

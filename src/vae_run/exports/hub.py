"""A folder as the Hugging Face hub has them, and its upload."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from vae_run.errors import ConfigError, RunError, first_line
from vae_run.exports.card import card
from vae_run.exports.facts import facts
from vae_run.exports.packages import need
from vae_run.exports.pretrained import WEIGHTS
from vae_run.exports.source import Source
from vae_run.exports.weights import weights_file
from vae_run.system.array_archive import is_marked
from vae_run.system.files import write_atomically, write_json


def save_pretrained(
    source: Source,
    folder: str | os.PathLike[str],
    *,
    repository: str = "OWNER/NAME",
    overwrite: bool = False,
) -> Path:
    """Write a model to `folder`, which is made: `model.safetensors`, `config.json`, `README.md`.

    `model.safetensors` alone is enough for `from_pretrained`; `config.json` repeats its metadata
    for people and programs, and `README.md` is a model card with the metrics of the run.

    Args:
        source: the model, from `source_of(run)`.
        repository: its name on the hub, for the example in the card.
        overwrite: replace these files even if they do not say that vae-run wrote them.

    Raises:
        ConfigError: the package safetensors is not installed, or the folder has one of these files
            from someone else; then nothing is written.
        OSError: a file cannot be written.
    """
    need("save_pretrained", ["safetensors"], "export")
    place = Path(folder).expanduser()
    files = [place / name for name in (WEIGHTS, "config.json", "README.md")]
    foreign = [file.name for file in files if file.exists() and not _is_own(file)]
    if foreign and not overwrite:
        raise ConfigError(
            f"{folder}: has {' and '.join(foreign)}, without the remark that vae-run wrote it. "
            "Name another folder, or say overwrite=True."
        )
    place.mkdir(parents=True, exist_ok=True)
    content, _ = weights_file(source, WEIGHTS)
    write_atomically(place / WEIGHTS, content)
    write_json(place / "config.json", facts(source))
    write_atomically(place / "README.md", card(source, repository).encode())
    return place


def _is_own(file: Path) -> bool:
    return file.is_file() and is_marked(file)


def push_to_hub(source: Source, repository: str, *, private: bool = True) -> str:
    """Upload what `save_pretrained` writes to the Hugging Face hub; returns the commit's address.

    The repository is made if there is none, a private one unless `private=False`. It needs
    the packages of the extra `hub`, and a login (`hf auth login`, or the variable HF_TOKEN).

    Raises:
        ConfigError: a package is not installed.
        RunError: the hub cannot be reached, or refuses.
    """
    need("push_to_hub", ["huggingface_hub", "safetensors"], "hub")
    from huggingface_hub import HfApi

    with TemporaryDirectory() as temporary:
        folder = save_pretrained(source, temporary, repository=repository)
        try:
            api = HfApi(library_name="vae-run")
            api.create_repo(repository, private=private, exist_ok=True)
            done = api.upload_folder(
                repo_id=repository, folder_path=folder, commit_message="Upload from vae-run"
            )
        except Exception as error:  # of the network, of the login, of the name
            raise RunError(
                f"{repository}: cannot be uploaded to the hub: {first_line(error)}"
            ) from error
    return str(done.commit_url)

"""Draw every picture of docs/images anew, by the commands that the pages name.

    python docs/pictures.py                     # all of them: half an hour on two cores
    python docs/pictures.py vae.png pca.png     # these alone
    python docs/pictures.py --keep DIR vae.png  # keep runs, and draw those of DIR again

Runs go to a temporary folder unless `--keep` names one. The two screenshots of the README, of a
report and of TensorBoard, are taken by docs/screenshots.py, which needs Chromium; they are left
out, with a line that says so, where there is none.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # a module beside this one, from any folder
import screenshots

IMAGES = screenshots.IMAGES
LARGEST = 160_000
"""Bytes of a picture; of a larger one the colours are reduced to 256, and then its size."""

COMMANDS: Mapping[str, Mapping[str, str]] = {
    "dataset=mnist latent_dim=2 trainer.epochs=25": {"manifold.png": "figures/manifold.png"},
    "model=pca dataset=mnist": {"pca.png": "figures/traversals.png"},
    "-m experiment=linear_ae latent_dim=2,16,32 network.tied=true,false": {
        "linear_ae.png": "*latent_dim=16*tied=false*/figures/traversals.png"
    },
    "model=ae likelihood=mse latent_dim=2 network.activation=tanh 'network.widths=[256,64]' "
    "'network.decoder_widths=[128,256]' trainer.epochs=60": {"ae.png": "figures/manifold.png"},
    "model=sparse_ae dataset=mnist objective.k=16 trainer.epochs=5": {
        "dictionary.png": "figures/dictionary.png"
    },
    "model=ae network=conv likelihood=mse 'network.widths=[16,32]' trainer.epochs=30": {
        "conv.png": "figures/reconstructions.png"
    },
    "model=dae corruption=inpainting likelihood=mse trainer.epochs=60": {
        "inpainting.png": "figures/reconstructions.png"
    },
    "model=dae dataset=mnist corruption=gaussian corruption.level=0.5 trainer.epochs=3": {
        "robustness.png": "figures/robustness.png"
    },
    "model=stacked_dae likelihood=mse network.activation=tanh 'network.widths=[128,64,32]' "
    "trainer.epochs=60 trainer.evaluate_every=5": {"stacked.png": "figures/learning_curves.png"},
    "-m experiment=bottleneck_noise": {"bottleneck_noise.png": "curves.png"},
    "latent_dim=2 trainer.epochs=60": {
        "vae.png": "figures/manifold.png",
        "interpolations.png": "figures/interpolations.png",
    },
    "prior=vamp latent_dim=2 trainer.epochs=60 'evaluation.figures=[codes]'": {
        "vamp.png": "figures/codes.png"
    },
    "model=vq_vae": {"vq_vae.png": "figures/samples.png"},
    "model=hierarchical_vae latent_dim=24 trainer.epochs=60 objective.warmup_epochs=30": {
        "layers.png": "figures/traversals.png"
    },
    "model=fsq": {"fsq.png": "figures/samples.png"},
    "model=ladder_vae latent_dim=24 trainer.epochs=60 objective.warmup_epochs=30": {
        "ladder_vae.png": "figures/traversals.png"
    },
    "model=residual_vq": {"residual_vq.png": "figures/samples.png"},
    "model=kl_autoencoder": {"kl_autoencoder.png": "figures/reconstructions.png"},
    "model=contractive_ae network.tied=true 'evaluation.figures=[dictionary]'": {
        "contractive.png": "figures/dictionary.png"
    },
    "model=aae likelihood=gaussian": {"critic.png": "figures/codes.png"},
    "model=vae_gan likelihood=gaussian network=conv 'network.widths=[32,64]'": {
        "vae_gan.png": "figures/samples.png"
    },
    "model=factor_vae objective.gamma=35 dataset=sprites latent_dim=10 'network.widths=[256,128]' "
    "trainer.epochs=20 trainer.evaluate_every=10 evaluation=disentanglement": {
        "factor_vae.png": "figures/traversals.png"
    },
    "objective=reweighted_wake_sleep latent_dim=2 trainer.epochs=60": {
        "wake_sleep.png": "figures/manifold.png"
    },
    "objective.beta=30 latent_dim=2 trainer.epochs=30 trainer.evaluate_every=5": {
        "collapse.png": "figures/learning_curves.png"
    },
    "-m experiment=double_descent": {"double_descent.png": "sweep.png"},
    "-m experiment=bottleneck": {"bottleneck.png": "sweep.png"},
    "model=ae likelihood=mse latent_dim=8 'dataset.classes=[8]' evaluation=anomaly": {
        "anomaly.png": "figures/anomaly_scores.png"
    },
}
"""The pictures by the words of the command that draws them, each with where it lies in the run, or
in the folder of the sweep; a pattern of names may stand in a place."""


def main() -> None:
    """Run the commands of the pictures that are asked for, and copy the pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("names", nargs="*", help="pictures, such as vae.png; none: all")
    parser.add_argument("--keep", type=Path, help="a folder for the runs, which stay there")
    given = parser.parse_args()
    shots = {f"{name}.png" for name in screenshots.SIZES}
    known = {name for drawn in COMMANDS.values() for name in drawn} | shots
    if unknown := sorted(set(given.names) - known):
        sys.exit(f"{', '.join(unknown)}: no such picture; there are {', '.join(sorted(known))}.")
    wanted = set(given.names) or known
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.keep or Path(temporary)).resolve()
        for words, drawn in COMMANDS.items():
            if names := [name for name in drawn if name in wanted]:
                place = train(words, folder / Path(next(iter(drawn))).stem)
                for name in names:
                    copy(place, drawn[name], name)
    if chosen := sorted(name.removesuffix(".png") for name in wanted & shots):
        take(chosen)


def train(words: str, place: Path) -> Path:
    """The folder `place` of the run or sweep of the command; what is complete is drawn again."""
    listed = shlex.split(words)
    if listed[0] == "-m":
        vae_run(*listed, f"sweep.dir={place}")
    elif (place / "metrics.json").is_file():
        vae_run("task=evaluate", f"run={place}", "evaluation.metrics=[objective]")
    else:
        vae_run(*listed, f"hydra.run.dir={place}")
    return place


def vae_run(*words: str) -> None:
    """Run the program with `words`, which are shown; a failure ends this script."""
    print(shlex.join(["vae-run", *words]), flush=True)
    done = subprocess.run([sys.executable, "-m", "vae_run", *words], check=False)
    if done.returncode:
        sys.exit(done.returncode)


def copy(place: Path, pattern: str, name: str) -> None:
    """Write the picture at `pattern` below `place` to docs/images."""
    (found,) = place.glob(pattern)
    content = found.read_bytes()
    if len(content) > LARGEST:
        content = screenshots.smaller(content, LARGEST)
    (IMAGES / name).write_bytes(content)
    print(f"{IMAGES / name}  {len(content) / 1000:.0f} kB", flush=True)


def take(names: list[str]) -> None:
    """Take the screenshots `names`, or say why not."""
    if shutil.which("chromium") or shutil.which("chromium-browser"):
        script = Path(__file__).with_name("screenshots.py")
        subprocess.run([sys.executable, str(script), *names], check=True)
    else:
        print(f"no chromium, so these stay as they are: {', '.join(names)}")


if __name__ == "__main__":
    main()

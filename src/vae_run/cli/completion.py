"""Tab completion for bash, zsh and fish.

Hydra's own composes the configuration at each press of Tab, which takes more than a second; it
knows no lists of options, and its script for bash does not work in zsh. This one reads only the
files of the options that are chosen.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from vae_run.cli.catalogue import GLOBAL, Catalogue, prefix_of, written
from vae_run.config.keys import is_path
from vae_run.config.options import CONF, folders

FLAGS = ("--help", "--version", "--multirun", "--json", "--schema", "--cfg", "--config-dir",
         "--info", "--hydra-help", "--package", "--resolve", "--shell-completion")  # fmt: skip
VALUES = {
    "device": ("auto", "cpu", "cuda", "mps"),
    "precision": ("float32", "bfloat16"),
    "checkpoint": ("best", "last"),
    "condition": ("label", "null"),
    "--cfg": ("job", "hydra", "all"),
}
"""Values of keys and options that are known without their classes."""

BASH = r"""_vae_run() {
    local line="${COMP_LINE:0:COMP_POINT}" word="${COMP_WORDS[COMP_CWORD]}" IFS=$'\n'
    local typed="${line##* }"
    case $word in [=:]) word= ;; esac
    COMPREPLY=($(COMP_LINE="$line" vae-run -sc query=bash 2>/dev/null))
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[=./,] ]] && compopt -o nospace
    COMPREPLY=("${COMPREPLY[@]#"${typed%"$word"}"}")
}
complete -F _vae_run vae-run
"""
ZSH = r"""_vae_run() {
    local -a found whole open
    found=("${(@f)$(COMP_LINE="${(j: :)words[1,CURRENT]}" vae-run -sc query=zsh 2>/dev/null)}")
    open=(${(M)found:#*[=./,]})
    whole=(${found:#*[=./,]})
    (( ${#open} )) && compadd -S '' -- $open
    (( ${#whole} )) && compadd -- $whole
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _vae_run vae-run
"""
FISH = r"""function _vae_run
    set -lx COMP_LINE (commandline -cp)
    vae-run -sc query=fish 2>/dev/null
end
complete -c vae-run -f -a '(_vae_run)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
REMOVALS = {
    "bash": "complete -r vae-run; unset -f _vae_run\n",
    "zsh": "compdef -d vae-run; unfunction _vae_run\n",
    "fish": "complete -e -c vae-run; functions -e _vae_run\n",
}


def answer(words: Sequence[str]) -> str | None:
    """What `-sc install=SHELL`, `uninstall=SHELL` or `query=SHELL` prints; None for others."""
    action, _, shell = words[0].partition("=") if words else ("", "", "")
    if shell not in SCRIPTS:
        return None
    if action == "query":
        found = candidates(os.environ.get("COMP_LINE", ""))
        return "".join(f"{each}\n" for each in found)
    return {"install": SCRIPTS, "uninstall": REMOVALS}.get(action, {}).get(shell)


def candidates(line: str) -> list[str]:
    """What the last word of the command line `line` may become; complete words."""
    *typed, word = line.split(" ")[1:] or [""]
    lead = word[: len(word) - len(word.lstrip("'\"+~"))]
    catalogue = Catalogue(folders(CONF, typed))
    before = typed[-1] if typed else ""
    if before == "--config-dir":
        found = _paths("", word)
    elif before == "--help":
        found = catalogue.words()
    else:
        found = _continued(catalogue, typed, word[len(lead) :], before)
    rest = word[len(lead) :]
    return sorted({f"{lead}{each}" for each in found if each.startswith(rest)})


def _continued(catalogue: Catalogue, typed: Sequence[str], word: str, before: str) -> Iterator[str]:
    key, equals, value = word.partition("=")
    if word.startswith("-"):
        yield from FLAGS
    elif before in VALUES and before.startswith("-"):
        yield from VALUES[before]
    elif not equals:
        yield from _keys(catalogue, typed, word)
        if not typed:
            yield "doctor"
    elif key in catalogue.groups:
        done, comma, _ = value.rpartition(",")
        yield from (f"{key}={done}{comma}{name}" for name in catalogue.options(key))
    elif is_path(key):
        yield from _paths(f"{key}=", value)
    else:
        default = written(_defaults(catalogue, typed).get(key, ""))
        values = VALUES.get(key, ("true", "false") if default in ("true", "false") else (default,))
        yield from (f"{key}={each}" for each in values if each not in ("", "???"))


def _keys(catalogue: Catalogue, typed: Sequence[str], word: str) -> Iterator[str]:
    """Groups and keys; those within a group or section once the word has come to its dot."""
    yield from (f"{group}=" for group in catalogue.groups)
    for key in [*_defaults(catalogue, typed), "hydra.run.dir"]:
        section, dot, _ = key.rpartition(".")
        yield f"{key}=" if not dot or word.startswith(f"{section}.") else f"{section}."


def _defaults(catalogue: Catalogue, typed: Sequence[str]) -> dict[str, object]:
    """The keys of the options that the words `typed` choose, with their defaults."""
    chosen = {**dict.fromkeys(catalogue.groups), **catalogue.main.chosen()}
    chosen |= {"hydra/launcher": "local", "hydra/sweeper": "grid"}
    asked = dict(word.split("=", 1) for word in typed if "=" in word)
    for preset in GLOBAL:  # an option of these chooses options of other groups
        option = asked.get(preset, chosen.get(preset) or "").split(",")[0]
        if option in catalogue.options(preset):
            chosen |= {preset: option, **catalogue.file(preset, option).chosen()}
    found = dict(catalogue.main.leaves())
    for group, default in chosen.items():
        for option in asked.get(group, default or "").split(","):
            if group not in ("model", "experiment") and option in catalogue.options(group):
                keys = catalogue.of_option(group, option)
                found |= {key: each.default for key, each in keys.items()}
    return {key: value for key, value in found.items() if key != prefix_of("task") + "task"}


def _paths(lead: str, begun: str) -> Iterator[str]:
    """`lead` and each path that begins with `begun`; folders end in a slash."""
    folder, slash, name = begun.rpartition("/")
    place = Path(os.path.expanduser(f"{folder}{slash}") or ".")
    try:
        inside = sorted(place.iterdir())
    except OSError:
        return
    for path in inside:
        if path.name.startswith(name) and (name.startswith(".") or not path.name.startswith(".")):
            yield f"{lead}{folder}{slash}{path.name}{'/' * path.is_dir()}"

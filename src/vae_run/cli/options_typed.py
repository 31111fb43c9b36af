"""Options of the command line that do not exist, and what may have been meant."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from vae_run.config.keys import nearest
from vae_run.config.options import CONF


def misspelt(word: str, options: Sequence[str]) -> str:
    """The message for the typed `word` where it is an option that is not among `options`.

    A long option may be shortened as argparse allows; several letters may stand behind one dash.
    "" for a word that is no option, or one that exists.
    """
    if not word.startswith("-") or word in ("-", "--"):
        return ""
    name, equals, value = word.partition("=")
    if name in options or (name.startswith("--") and any(o.startswith(name) for o in options)):
        return ""
    long = name.startswith("--")
    if not equals and not long and any(o == name[:2] for o in options):
        return ""
    start = f"{word}: there is no such option."
    known = _known_keys()
    key = name.lstrip("-")
    if equals:
        heads = [option for option in options if len(option) > 2 and name.startswith(f"{option}/")]
        if heads:
            return f"{start} A space follows an option: {heads[0]} {word.removeprefix(heads[0])}"
        if near := key if key in known else nearest(key, known):
            return f"{start} Keys have no dashes: did you mean {near}={value}?"
        return f"{start} Keys have no dashes."
    if key in known:
        return f"{start} A key is given without dashes: {key}=VALUE."
    found = get_close_matches(name, [o for o in options if o.startswith("--")], n=1, cutoff=0.6)
    if found:
        return f"{start} Did you mean {found[0]}?"
    return f"{start} vae-run --help lists them."


def _known_keys() -> list[str]:
    """Every key of the configuration."""
    from vae_run.cli.composition import known_keys

    return known_keys(CONF)

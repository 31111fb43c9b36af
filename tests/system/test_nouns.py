"""What examples are called in texts for people."""

from __future__ import annotations

import pytest

from vae_run.system.nouns import counted, noun_of, speaking_of


def test_the_shape_of_an_example_names_it() -> None:
    assert [noun_of(shape) for shape in ((5,), (2, 30), (1, 8, 8))] == [
        "vectors", "windows", "images"]  # fmt: skip
    assert noun_of((5,), table=True) == "rows"


@pytest.mark.parametrize(
    ("noun", "said"),
    [
        ("images", "An image has an image's pixels; images, per pixel, imaginary"),
        ("rows", "A row has a row's features; rows, per feature, imaginary"),
        ("windows", "A window has a window's values; windows, per value, imaginary"),
        ("examples", "An example has an example's values; examples, per value, imaginary"),
    ],
)
def test_texts_on_images_speak_of_other_examples(noun: str, said: str) -> None:
    text = "An image has an image's pixels; images, per pixel, imaginary"
    assert speaking_of(text, noun) == said


def test_a_number_and_its_noun_agree() -> None:
    assert [counted(n, "rows") for n in (0, 1, 1200)] == ["0 rows", "1 row", "1,200 rows"]
    assert counted(1, "reconstructions") == "1 reconstruction"
    assert counted(1, "entries") == "1 entry"

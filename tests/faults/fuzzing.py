"""Damaged files for readers: good ones, of which bytes, cells or values are changed.

Letters: N rows.
"""

from __future__ import annotations

import io
import json
import os
import random
import resource
import string
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import parquet

from vae_run.errors import RunError

COUNT = int(os.environ.get("VAE_RUN_FUZZ", "12"))
"""Files of each kind that are made; the environment variable asks for more."""
SECONDS, KIB = 2.0, 600_000
"""Time of the processor, and memory, that a reader may take at most for one small file."""

TEXTS = (
    *("", "nan", "NaN", "inf", "-inf", "1e999", "-0", "1,5", "0x10", "1_000", "true", "null"),
    *("2020-01-01", "2020-01-01T00:00:00Z", "12:30", '"', '""', '"open', "a\nb", "a\rb", "\t"),
    *("\0", "\ufeff", "猫", "e\u0301", "\u202e", "😀", "=1+1", "x" * 5000, "9" * 400, " 1 ", "#"),
)
SIZES = (0, 1, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**64 - 1)


def outcome(read: Callable[[], object]) -> str:
    """`data` or `refused`, what comes of reading; anything else is raised.

    Time and memory are limited, as by `SECONDS` and `KIB`.
    """
    begun, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        read()
        came, told = "data", "-"
    except RunError as error:
        came, told = "refused", str(error).strip()
    took = time.process_time() - begun
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert 0 < len(told) < 20_000, "no message, or one that no terminal shows"
    assert took < SECONDS, f"{took:.1f} s"
    assert grown < KIB, f"{grown:,} KiB"
    return came


def bent(content: bytes, dice: random.Random) -> bytes:
    """`content`, cut, with other bytes, with a part twice, or with a huge number in it."""
    found, how = bytearray(content), dice.randrange(6)
    if how == 0 or not found:
        return bytes(found[: dice.randrange(len(found) + 1)])
    for _ in range(dice.randint(1, 4)):
        place = dice.randrange(len(found))
        end = place + dice.randint(1, 40)
        if how == 1:
            found[place] ^= 1 << dice.randrange(8)
        elif how == 2:
            found[place] = dice.randrange(256)
        elif how == 3:
            found[place:place] = found[place:end]
        elif how == 4:
            del found[place:end]
        else:
            wide = dice.choice((4, 8))
            number = dice.choice(SIZES) % 2 ** (8 * wide)
            found[place : place + wide] = number.to_bytes(wide, dice.choice(("little", "big")))
        if not found:
            break
    return bytes(found)


def any_text(dice: random.Random) -> str:
    return dice.choice((*TEXTS, "".join(dice.choices(string.printable, k=dice.randrange(9)))))


def good_rows() -> list[list[str]]:
    """The names of the columns, and 30 rows."""
    rows = [[str(i), f"{i / 7:.3f}", "rgb"[i % 3], "ab"[i % 2]] for i in range(30)]
    return [["age", "height", "colour", "kind"], *rows]


def csv_bytes(dice: random.Random, delimiter: str = ",") -> bytes:
    """A table of texts, of which a few cells, rows or names are odd."""
    rows = good_rows()
    for _ in range(dice.randint(0, 4)):
        row = dice.choice((rows[0], dice.choice(rows), dice.choice(rows)))
        how = dice.randrange(6)
        if how < 3 and row:
            row[dice.randrange(len(row))] = any_text(dice)
        elif how == 3:
            row.append(any_text(dice))
        elif how == 4:
            del row[dice.randrange(len(row) + 1) :]
        else:
            del rows[dice.randrange(len(rows) + 1) :]
            rows = rows or [[]]
    ends = dice.choice(("\n", "\n", "\n", "\r\n", "\r", "\n\n"))
    text = ends.join(delimiter.join(row) for row in rows) + ends * dice.randrange(2)
    coding = dice.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"))
    content = text.encode(coding, "replace")
    return bent(content, dice) if dice.random() < 0.3 else content


def columns(n: int) -> dict[str, pa.Array]:
    """A column of N rows of each type that Arrow can store in Parquet, and odd values."""
    of = [i % 5 for i in range(n)]
    texts = [TEXTS[i % len(TEXTS)] for i in range(n)]
    kinds = [pa.int8(), pa.uint8(), pa.int64(), pa.float16(), pa.float32(), pa.float64()]
    kinds += [pa.bool_(), pa.decimal128(20, 3), pa.decimal256(50, 3), pa.date32()]
    kinds += [pa.timestamp("ns"), pa.timestamp("us", "UTC"), pa.time64("us"), pa.duration("s")]
    found = {}
    for kind in kinds:
        try:
            found[str(kind)] = pa.array(of, kind)
        except (pa.ArrowException, TypeError):
            found[str(kind)] = pa.array([float(i) for i in of]).cast(kind, safe=False)
    odd = [(0.0, np.nan, np.inf, -np.inf, None, 1e308, -1e308)[i % 7] for i in range(n)]
    return {
        **found,
        "uint64": pa.array([2**64 - 1 - i % 3 for i in of], pa.uint64()),
        "odd": pa.array(odd, pa.float64()),
        "huge": pa.array([(-1) ** i * 1.7e308 for i in range(n)], pa.float64()),
        "null": pa.nulls(n),
        "all lost": pa.nulls(n, pa.float32()),
        "text": pa.array(texts),
        "large text": pa.array(texts, pa.large_string()),
        "lost text": pa.array([None if i % 3 else "a" for i in range(n)], pa.string()),
        "bytes": pa.array([b"\xff\xfe"] * n),
        "list": pa.array([[i] * i for i in of]),
        "struct": pa.array([{"bytes": str(i), "path": None} for i in of]),
        "map": pa.array([[("a", i)] for i in of], pa.map_(pa.string(), pa.int64())),
        "dictionary": pa.array(texts).dictionary_encode(),
        "numbers": pa.array(of).dictionary_encode(),
        "constant": pa.array([7] * n),
        "many": pa.array([str(i) for i in range(n)]),
    }


def parquet_bytes(dice: random.Random) -> bytes:
    """A table of a few columns of any types and names."""
    n = dice.choice((0, 1, 2, 30, 30, 30, 30, 30, 1200))
    every = columns(n)
    chosen = dice.sample(sorted(every), dice.randint(1, 3))
    names = [any_text(dice) if dice.random() < 0.2 else name for name in chosen]
    if dice.random() < 0.7:
        names, chosen = [*names, "age"], [*chosen, "int64"]
    table = pa.table([every[name] for name in chosen], names=names)
    if dice.random() < 0.1:
        about = dice.choice((b"{", b"null", b'{"columns": 3}', b"\xff"))
        table = table.replace_schema_metadata({b"pandas": about})
    return written(table, dice)


def written(table: pa.Table, dice: random.Random, share: float = 0.3) -> bytes:
    """The bytes of a Parquet file; of a `share` of files they are damaged."""
    buffer = io.BytesIO()
    coded = dice.choice(("none", "snappy", "zstd", "gzip"))
    parquet.write_table(table, buffer, compression=coded, use_dictionary=dice.random() < 0.5)
    content = buffer.getvalue()
    return bent(content, dice) if dice.random() < share else content


def png(dice: random.Random) -> bytes:
    buffer = io.BytesIO()
    size = (dice.randint(1, 9), dice.randint(1, 9))
    mode = dice.choice(("L", "RGB", "RGBA", "1", "P", "LA"))
    if dice.random() < 0.02:
        mode = dice.choice(("I;16", "CMYK"))
    kind = dice.choice(("TIFF", "JPEG")) if mode == "CMYK" else "PNG"
    Image.new(mode, size).save(buffer, kind)
    content = buffer.getvalue()
    return bent(content, dice) if dice.random() < 0.01 else content


def images_of_the_hub(folder: Path, dice: random.Random) -> None:
    """Files of encoded images as the hub has them; the files may disagree, or hold other things."""
    for split in (
        "train",
        *dice.sample(("validation", "test", "猫", "train-2"), dice.randint(0, 3)),
    ):
        n = dice.choice((0, 1, 12, 12, 12, 12))
        held = [{"bytes": png(dice), "path": f"{i}.png"} for i in range(n)]
        if dice.random() < 0.05 and n:
            odd = (None, {"bytes": None, "path": "x"}, {"bytes": b"", "path": None}, {"path": "y"})
            held[dice.randrange(n)] = dice.choice(odd)
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        images = pa.array(held, kind)
        if dice.random() < 0.1:
            images = columns(n)[dice.choice(("struct", "bytes", "list", "null", "text", "int64"))]
        named = "image" if dice.random() < 0.9 else any_text(dice)
        table = pa.table({named: images, **_labels(n, dice)})
        if dice.random() < 0.5:
            table = table.replace_schema_metadata({b"huggingface": _about(dice)})
        ending = dice.choice((".parquet",) * 9 + (".txt",))
        (folder / f"{split}{ending}").write_bytes(written(table, dice, 0.1))


def _labels(n: int, dice: random.Random) -> dict[str, pa.Array]:
    if dice.random() < 0.1:
        return {}
    if dice.random() < 0.8:
        return {"label": pa.array([i % 3 for i in range(n)], pa.int64())}
    every = columns(n)
    return {"label": every[dice.choice(sorted(every))]}


def _about(dice: random.Random) -> bytes:
    names: Any = dice.choice((["cat", "dog", "emu"], ["cat"], ["a", "a", "b"], [[1], {}], "abc", 7))
    good = json.dumps({"info": {"features": {"label": {"names": names}}}}).encode()
    return dice.choice((good, good, b"{", b"[]", b"\xff", b"[" * 100_000))


def amat_bytes(dice: random.Random) -> bytes:
    """A text of zeros and ones, 784 in a line."""
    lines = [" ".join(dice.choices("01", k=784)) for _ in range(5)]
    if dice.random() < 0.7:
        place = dice.randrange(len(lines))
        lines[place] = dice.choice(
            (lines[place][:-2], f"{lines[place]} 1", "", "0.5 " * 784, "1" * 784, any_text(dice))
        )
    content = dice.choice(("\n", "\r\n", "\n\n", "\t\n")).join(lines).encode()
    return bent(content, dice) if dice.random() < 0.5 else content


def npz_bytes(dice: random.Random) -> bytes:
    """Arrays of images, some of odd types and shapes."""
    kind = dice.choice(
        (*["u1"] * 9, "?", "f4", "f2", "f8", "i8", "u8", "c8", "U3", "S2", "M8[s]", "V4")
    )
    shape = dice.choice(
        (*[(20, 4, 5)] * 4, (20, 1, 4, 5), (20, 4, 5, 3), (20,), (), (0, 4, 5), (20, 0))
    )
    train = np.random.default_rng(0).integers(0, 2, shape).astype("i8").astype(kind)
    if kind.startswith("f") and train.size and dice.random() < 0.3:
        train.flat[0] = dice.choice((np.nan, np.inf, -5.0, 1e300 if kind == "f8" else 9.0))
    named = dice.choice(("train", "train", "x_train", "images", any_text(dice) or "a"))
    arrays = {named: train}
    if dice.random() < 0.5:
        labels = dice.choice(
            (np.arange(20) % 3, np.arange(7), np.array(["a", "猫"] * 10), np.eye(20))
        )
        arrays["train_labels"] = labels
    buffer = io.BytesIO()
    np.savez(
        buffer, **{name.replace("\0", "0").replace("file", "f"): a for name, a in arrays.items()}
    )
    content = buffer.getvalue()
    return bent(content, dice) if dice.random() < 0.4 else content

"""Rows of several columns: tsv and jsonl files, `hf:` and `tfds:` data sets."""

import dataclasses
import glob
import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mobilebert_jax.text.corpus import Address, library, one_line, parse_address
from mobilebert_jax.text.hugging_face import HUB_NAME, open_files, open_folder, readable, suffix_of
from mobilebert_jax.text.text_files import read_lines
from mobilebert_jax.text.tfds_corpus import RECORDS_AT_ONCE, prepared_builder
from mobilebert_jax.utils.errors import UserError

_LOG = logging.getLogger(__name__)

REFUSE, DROP = "refuse", "drop"
BAD_ROWS = (REFUSE, DROP)
"""What to do about lines with a wrong number of columns: refuse the file, or leave them out and say how many."""


@dataclasses.dataclass(frozen=True)
class Record:
    """One row: `place` is its file and line, or its number in a data set, for errors."""

    place: str
    values: dict[str, Any]


def read_tsv(path: str | Path, columns: Sequence[str] = (), bad_rows: str = REFUSE) -> list[Record]:
    """All rows of a tab-separated file; quotes are characters like any other (`csv.QUOTE_NONE`).

    `columns` are the names where the file has no header; otherwise its first line has them. Empty lines at the end are
    no rows.

    Raises:
        UserError: unreadable, empty, or a line with another number of columns; the error names file and line.
    """
    lines = [line.removesuffix("\n") for line in read_lines(path)]
    while lines and not lines[-1]:
        lines.pop()
    first = 1
    if not columns:
        if not lines:
            raise UserError(f"{path}: empty; its first line must name the columns")
        columns, lines, first = lines[0].split("\t"), lines[1:], 2
    records, wrong = [], []
    for number, line in enumerate(lines, start=first):
        values = line.split("\t")
        if len(values) == len(columns):
            records.append(Record(f"{path}:{number}", dict(zip(columns, values, strict=True))))
            continue
        if bad_rows == REFUSE:
            raise UserError(
                f"{path}:{number}: {len(values)} columns, {len(columns)} are needed ({', '.join(columns)}); "
                f"put it right, or leave such lines out with --bad_rows={DROP}"
            )
        wrong.append(number)
    if wrong:
        some = ", ".join(map(str, wrong[:5])) + (", ..." if len(wrong) > 5 else "")
        _LOG.warning("%s: %d lines left out, their number of columns is wrong (lines %s)", path, len(wrong), some)
    return records


def read_jsonl(path: str | Path) -> list[Record]:
    """All rows of a file with one JSON object a line; blank lines are none.

    Raises:
        UserError: unreadable, or a line that is no JSON object; the error names file and line.
    """
    records = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}:{number}: not JSON ({error})") from error
        if not isinstance(values, dict):
            raise UserError(f"{path}:{number}: {type(values).__name__}, an object is needed")
        records.append(Record(f"{path}:{number}", values))
    return records


def is_data_set(spec: str) -> bool:
    """Whether rows come from the datasets library or from TFDS, not from a file."""
    return spec.partition(":")[0] in ("hf", "tfds")


def read_table(spec: str, bad_rows: str = REFUSE) -> list[Record]:
    """The rows of FILE.tsv with a header, of FILE.jsonl (also .gz, .xz, .zst), of `hf:` or of `tfds:`.

    Raises:
        UserError: another kind of file, or what the kind's own reader refuses.
    """
    if is_data_set(spec):
        return read_data_set(spec)
    path = Path(spec)
    if not path.is_file():
        raise UserError(f"{spec}: no such file; a .tsv, a .jsonl, hf: or tfds: is needed")
    if suffix_of(path) == ".jsonl":
        return read_jsonl(path)
    if suffix_of(path) == ".tsv":
        return read_tsv(path, bad_rows=bad_rows)
    raise UserError(f"{spec}: the name must end with .tsv or .jsonl, which says how to read it")


def read_data_set(spec: str, config: str = "", split: str = "") -> list[Record]:
    """The rows of `hf:NAME[,CONFIG][@SPLIT]` or of `tfds:NAME[/CONFIG][@SPLIT]`.

    `config` and `split` are for a spec that names none. Classes that the data set has names for stand there by name;
    -1, with which it marks a label that is not known, is None. Raises UserError for what is not there.
    """
    scheme, _, rest = spec.partition(":")
    address = parse_address(rest, spec)
    if split and not address.has_split:
        address = dataclasses.replace(address, split=split, has_split=True)
    rows = _hugging_face if scheme == "hf" else _tfds
    return list(rows(spec, address, config))


def has_splits(spec: str) -> bool:
    """Whether a data set is one of several splits: local files, and folders of a single one, have none."""
    scheme, _, rest = spec.partition(":")
    place = parse_address(rest, spec).where.partition(",")[0]
    if scheme == "tfds" or Path(place).is_dir():
        return not (Path(place) / "state.json").is_file()
    return not any(map(os.path.isfile, glob.iglob(place, recursive=True)))


def _hugging_face(spec: str, address: Address, config: str) -> Iterator[Record]:
    datasets = library("datasets", spec)
    place, _, named = address.where.partition(",")
    files = sorted(path for path in map(Path, glob.glob(place, recursive=True)) if path.is_file())
    with readable(spec, tuple(path for path in files if suffix_of(path) in (".json", ".jsonl"))):
        if Path(place).is_dir():
            folder = Path(place)
            # One folder of `save_to_disk` for each task.
            if not named and config and (folder / config).is_dir():
                folder = folder / config
            rows = open_folder(datasets, spec, folder, named, address)
        elif files:
            rows = open_files(datasets, spec, files, dataclasses.replace(address, field=""))
        elif HUB_NAME.fullmatch(place):
            rows = datasets.load_dataset(place, named or config or None, split=address.split)
        else:
            raise UserError(f"{spec!r}: no such folder or file: {place}")
        kinds = {name: getattr(kind, "feature", kind) for name, kind in (rows.features or {}).items()}
        names = {name: kind.names for name, kind in kinds.items() if hasattr(kind, "names")}
        for number, values in enumerate(rows):
            yield Record(f"{spec}@{address.split} row {number}", _named(values, names))


def _tfds(spec: str, address: Address, config: str) -> Iterator[Record]:
    tfds = library("tensorflow_datasets", spec)
    where = f"{address.where}/{config}" if config and "/" not in address.where else address.where
    builder = prepared_builder(tfds, spec, where)
    if address.split.partition("[")[0] not in builder.info.splits:
        raise UserError(f"{spec!r}: no split {address.split!r}; the splits are {', '.join(builder.info.splits)}")
    features = builder.info.features
    kinds = {name: getattr(features[name], "feature", features[name]) for name in features}
    names = {name: kind.names for name, kind in kinds.items() if getattr(kind, "names", None)}
    try:
        records = builder.as_data_source(split=address.split)
        for start in range(0, len(records), RECORDS_AT_ONCE):
            wanted = list(range(start, min(start + RECORDS_AT_ONCE, len(records))))
            for number, values in zip(wanted, records.__getitems__(wanted), strict=True):
                yield Record(f"{spec}@{address.split} record {number}", _named(values, names))
    except UnicodeDecodeError as error:
        raise UserError(f"{spec!r}: not UTF-8 text ({error.reason})") from error
    except (NotImplementedError, ValueError, AssertionError, OSError) as error:
        raise UserError(
            f"{spec!r}: {one_line(error)}; ArrayRecord files are needed: prepare the data set with "
            "file_format='array_record'"
        ) from error


def _named(values: dict[str, Any], names: dict[str, Sequence[str]]) -> dict[str, Any]:
    """Plain values, classes by name, also those in lists."""

    def named(name: str, value: Any) -> Any:
        if isinstance(value, list):
            return [named(name, each) for each in value]
        if name in names and isinstance(value, int):
            return names[name][value] if value >= 0 else None
        return value

    return {name: named(name, _plain(value)) for name, value in values.items()}


def _plain(value: Any) -> Any:
    """Bytes as text, numpy's numbers as Python's, arrays as lists, also inside of objects and lists."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_plain, value))
    if isinstance(value, bytes):
        return value.decode("utf-8")
    return _plain(value.tolist()) if hasattr(value, "tolist") else value

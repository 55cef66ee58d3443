"""`hf:` documents of the datasets library: the hub, folders of `save_to_disk`, parquet and json files."""

import contextlib
import glob
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mobilebert_jax.text.corpus import Address, Walk, clean_document, library, one_line, parse_address, refuse_field
from mobilebert_jax.text.fingerprints import files_fingerprint
from mobilebert_jax.text.text_files import first_bad_byte
from mobilebert_jax.utils.errors import UserError

FILE_KINDS = {".parquet": "parquet", ".json": "json", ".jsonl": "json"}
"""File suffix -> what the datasets library calls its reader."""
ROWS_AT_ONCE = 256
HUB_NAME = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")
"""What a data set on the hub is called."""


@dataclass(frozen=True)
class HuggingFace:
    """A field of the rows of one split.

    `source` is what the datasets library opened: a Dataset or an IterableDataset (local), or a builder (hub), which
    loads the rows when they are first asked for, onto the disk or, `streaming`, over the network every time.
    `text_files` are the local json files behind it.
    """

    spec: str
    address: Address
    source: Any
    fingerprint: str
    streaming: bool = True
    text_files: tuple[Path, ...] = ()
    walk: Walk = field(default_factory=Walk, compare=False, repr=False)

    @property
    def identity(self) -> dict[str, str]:
        """The fingerprint of local files, or the revision on the hub."""
        return {"corpus_fingerprint": self.fingerprint}

    def __iter__(self) -> Iterator[str]:
        field, number, empty = self.address.field, 0, True
        self.walk.done = 0
        with readable(self.spec, self.text_files):
            for batch in self._rows.iter(batch_size=ROWS_AT_ONCE):
                if field not in batch:
                    raise refuse_field(f"corpus {self.spec!r}", field, list(batch))
                for text in batch[field]:
                    self.walk.done = number = number + 1
                    if text is not None and not isinstance(text, str):
                        kind = type(text).__name__
                        raise UserError(f'corpus {self.spec!r}, row {number}: "{field}" is {kind}; a string is needed')
                    if document := clean_document(text or ""):
                        empty = False
                        yield document
        if empty:
            raise UserError(f"corpus {self.spec!r}: no text in it")

    def progress(self) -> float | None:
        """By rows; None for local files, which do not say how many they hold."""
        splits = getattr(getattr(self.source, "info", None), "splits", None)
        if hasattr(self.source, "__len__"):
            return self.walk.of(len(self.source))
        if splits and self.address.split in splits:
            return self.walk.of(splits[self.address.split].num_examples)
        return None

    @cached_property
    def _rows(self) -> Any:
        """The split's rows without the other fields."""
        rows = self.source
        if hasattr(rows, "download_and_prepare"):
            rows = _load_from_hub(rows, self.address.split, self.streaming)
        names = rows.column_names
        if names is not None and self.address.field not in names:
            raise refuse_field(f"corpus {self.spec!r}", self.address.field, names)
        return rows.select_columns([self.address.field]) if names else rows


def open_hugging_face(spec: str, rest: str, streaming: bool) -> HuggingFace:
    """Opens `NAME[,CONFIG][@SPLIT][#FIELD]`, NAME being a name on the hub, a local folder, file or glob.

    Local files are always streamed: nothing is copied into a cache. Raises UserError for what is not there: package,
    file, data set, config, split, field.
    """
    address = parse_address(rest, spec)
    datasets = library("datasets", spec)
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    place, _, config = address.where.partition(",")
    files = sorted(path for path in map(Path, glob.glob(place, recursive=True)) if path.is_file())
    text_files = tuple(path for path in files if FILE_KINDS.get(suffix_of(path)) == "json")
    with readable(spec, text_files):
        if Path(place).is_dir():
            rows = open_folder(datasets, spec, Path(place), config, address)
            fingerprint = files_fingerprint(_files_below(Path(place)))
        elif files:
            rows = open_files(datasets, spec, files, address)
            fingerprint = files_fingerprint(files)
        elif HUB_NAME.fullmatch(place) and Path(place).suffix not in FILE_KINDS:
            builder = _open_hub(datasets, spec, place, config, address)
            return HuggingFace(spec, address, builder, f"{place}@{builder.hash}", streaming)
        else:
            raise UserError(f"corpus {spec!r}: no such folder or file: {place}")
    names = rows.column_names
    if names is not None and address.field not in names:
        raise refuse_field(f"corpus {spec!r}", address.field, names)
    return HuggingFace(spec, address, rows, fingerprint, text_files=text_files)


def open_folder(datasets: Any, spec: str, folder: Path, config: str, address: Address) -> Any:
    """The rows of a split of a folder: of `save_to_disk`, or of one that the datasets library reads."""
    if (folder / "dataset_dict.json").is_file():
        splits = datasets.load_from_disk(str(folder))
        if address.split not in splits:
            raise UserError(f"corpus {spec!r}: no split {address.split!r}; the splits are {', '.join(splits)}")
        return splits[address.split]
    if (folder / "state.json").is_file():
        if address.has_split:
            raise UserError(f"corpus {spec!r}: {folder} has no splits; leave @{address.split} out")
        return datasets.load_from_disk(str(folder))
    return datasets.load_dataset(str(folder), config or None, split=address.split, streaming=True)


def open_files(datasets: Any, spec: str, files: list[Path], address: Address) -> Any:
    """The rows of parquet or json files; of parquet files that have the address' field, only that is read."""
    if address.has_split:
        raise UserError(f"corpus {spec!r}: files have no splits; leave @{address.split} out")
    kinds = {FILE_KINDS.get(suffix_of(path)) for path in files}
    if None in kinds or len(kinds) > 1:
        raise UserError(f"corpus {spec!r}: files of one kind are needed, all .parquet or all .json or .jsonl")
    kind = kinds.pop()
    wanted = {"data_files": [str(path) for path in files], "split": "train", "streaming": True}
    rows = datasets.load_dataset(kind, **wanted)
    if kind == "parquet" and address.field in (rows.column_names or []):
        rows = datasets.load_dataset(kind, columns=[address.field], **wanted)  # the other columns are not even read
    return rows


def suffix_of(path: Path) -> str:
    """The suffix, that of compression aside: `.jsonl` of `a.jsonl.xz`."""
    return Path(path.stem).suffix if path.suffix in (".gz", ".xz", ".zst") else path.suffix


def _files_below(folder: Path) -> list[Path]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def _open_hub(datasets: Any, spec: str, name: str, config: str, address: Address) -> Any:
    builder = datasets.load_dataset_builder(name, config or None)
    splits, features = builder.info.splits, builder.info.features
    if splits and address.split.partition("[")[0] not in splits:
        raise UserError(f"corpus {spec!r}: no split {address.split!r}; the splits are {', '.join(splits)}")
    if features and address.field not in features:
        raise refuse_field(f"corpus {spec!r}", address.field, list(features))
    return builder


def _load_from_hub(builder: Any, split: str, streaming: bool) -> Any:
    if streaming:
        return builder.as_streaming_dataset(split=split)
    builder.download_and_prepare()
    return builder.as_dataset(split=split)


@contextlib.contextmanager
def readable(spec: str, files: Sequence[Path] = ()) -> Iterator[None]:
    """Turns what goes wrong in the datasets library into one line; what it logs on the way is kept quiet.

    `files` are the local files that are read, if they are text.
    """
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    except UserError:
        raise
    except ConnectionError as error:
        raise UserError(
            f"corpus {spec!r}: the hub cannot be reached ({one_line(error)}); without a network point at local files: "
            "hf:FOLDER of save_to_disk or of parquet files, hf:FILES.parquet or hf:FILES.jsonl"
        ) from error
    except StopIteration as error:  # there is not even a first row
        raise UserError(f"corpus {spec!r}: no text in it") from error
    except Exception as error:  # of a library that has many kinds
        for path in files:
            if place := first_bad_byte(path):
                raise UserError(
                    f"{path}: not UTF-8 text ({place}); convert it, or read it as text: with --errors=replace"
                ) from error
        raise UserError(f"corpus {spec!r}: {one_line(error)}") from error
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

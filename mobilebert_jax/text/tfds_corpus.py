"""`tfds:` documents of TensorFlow Datasets in ArrayRecord files, read without TensorFlow."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mobilebert_jax.text.corpus import (
    STRICT,
    Address,
    Walk,
    clean_document,
    library,
    one_line,
    parse_address,
    refuse_field,
)
from mobilebert_jax.text.fingerprints import files_fingerprint
from mobilebert_jax.utils.errors import UserError

RECORDS_AT_ONCE = 256


@dataclass(frozen=True)
class TfdsRecords:
    """A field of the records of one split, in the order of the files."""

    spec: str
    address: Address
    records: Any
    paths: tuple[Path, ...]
    errors: str = STRICT
    walk: Walk = field(default_factory=Walk, compare=False, repr=False)

    @cached_property
    def identity(self) -> dict[str, str]:
        """The fingerprint of the split's files, and whether bytes that are not UTF-8 are replaced."""
        reading = {} if self.errors == STRICT else {"errors": self.errors}
        return {"corpus_fingerprint": files_fingerprint(self.paths)} | reading

    def __iter__(self) -> Iterator[str]:
        empty = True
        for start in range(0, len(self.records), RECORDS_AT_ONCE):
            for number, record in enumerate(self._read(start), start=start):
                self.walk.done = number + 1
                if document := clean_document(self._text(number, record[self.address.field])):
                    empty = False
                    yield document
        if empty:
            raise UserError(f"corpus {self.spec!r}: no text in it")

    def progress(self) -> float | None:
        """By records."""
        return self.walk.of(len(self.records))

    def _read(self, start: int) -> list[dict[str, Any]]:
        wanted = list(range(start, min(start + RECORDS_AT_ONCE, len(self.records))))
        try:
            return self.records.__getitems__(wanted)
        except Exception as error:  # of a library that has many kinds
            raise UserError(
                f"corpus {self.spec!r}, records {wanted[0]} to {wanted[-1]}: cannot be read ({one_line(error)})"
            ) from error

    def _text(self, number: int, value: Any) -> str:
        if not isinstance(value, bytes | str):
            raise UserError(
                f'corpus {self.spec!r}, record {number}: "{self.address.field}" is {type(value).__name__}; '
                "a text is needed"
            )
        try:
            return value if isinstance(value, str) else value.decode("utf-8", self.errors)
        except UnicodeDecodeError as error:
            raise UserError(
                f'corpus {self.spec!r}, record {number}: "{self.address.field}" is not UTF-8 text, byte {error.start} '
                f"({error.reason}); --errors=replace goes on"
            ) from error


def open_tfds(spec: str, rest: str, errors: str = STRICT) -> TfdsRecords:
    """Opens `NAME[/CONFIG][:VERSION][@SPLIT][#FIELD]` below TFDS_DATA_DIR, or the prepared folder NAME.

    Nothing is downloaded or prepared here. Raises UserError for what is not there: package, data set, split, field,
    ArrayRecord files.
    """
    address = parse_address(rest, spec)
    tfds = library("tensorflow_datasets", spec)
    builder = prepared_builder(tfds, spec, address.where)
    split = address.split.partition("[")[0]
    if split not in builder.info.splits:
        names = ", ".join(builder.info.splits) or "none: it is not prepared"
        raise UserError(f"corpus {spec!r}: no split {split!r} in {builder.data_dir}; the splits are {names}")
    if address.field not in (fields := list(builder.info.features)):
        raise refuse_field(f"corpus {spec!r}", address.field, fields)
    paths = tuple(Path(path) for path in builder.info.splits[split].filepaths)
    try:
        records = builder.as_data_source(split=address.split)
    except (NotImplementedError, ValueError, AssertionError, OSError) as error:
        raise UserError(
            f"corpus {spec!r}: {one_line(error)}; ArrayRecord files are needed: prepare the data set with "
            "file_format='array_record'"
        ) from error
    return TfdsRecords(spec, address, records, paths, errors)


def prepared_builder(tfds: Any, spec: str, where: str) -> Any:
    """The data set as its files describe it: the code that made it is not needed and never run."""
    if (Path(where) / "dataset_info.json").is_file():
        return tfds.builder_from_directory(where)
    if Path(where).is_dir():
        raise UserError(f"corpus {spec!r}: {where} holds no dataset_info.json; name the folder of one version")
    place = os.environ.get("TFDS_DATA_DIR", str(Path("~", "tensorflow_datasets")))
    try:
        name, chosen = tfds.core.naming.parse_builder_name_kwargs(where)
    except ValueError as error:
        raise UserError(
            f"corpus {spec!r}: no such folder, and no name of a data set either: NAME, NAME/CONFIG, NAME/CONFIG:1.0.0"
        ) from error
    try:
        open_prepared = tfds.core.read_only_builder.builder_from_files
        return open_prepared(str(name), data_dir=os.environ.get("TFDS_DATA_DIR"), **chosen)
    except (ValueError, AssertionError, OSError) as error:  # not found is a ValueError
        raise UserError(
            f"corpus {spec!r}: no such data set below TFDS_DATA_DIR ({place}); it must be prepared there with "
            "file_format='array_record', or be the path of a prepared folder"
        ) from error

"""Brings a finished token store from where it lies, another folder or a bucket, to where it is used."""

import os
import shutil
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mobilebert_jax.text.corpus import one_line
from mobilebert_jax.text.store import MANIFEST, SHARDS, is_intact, read_manifest, shard_folder
from mobilebert_jax.utils.addresses import missing_package
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import UNFINISHED, atomic_folder, atomic_path

TOKENIZER = "tokenizer"


class RemoteStore:
    """The store at `address`: a folder, or whatever the fsspec library reads (`gs://bucket/run/data`)."""

    def __init__(self, address: str):
        """Opens it; UserError when there is none, or the address cannot be read."""
        import fsspec

        self.address = address
        try:
            self._files, self._root = fsspec.core.url_to_fs(address)
            with self._files.open(f"{self._root}/{MANIFEST}", "rb") as file:
                self.manifest_bytes: bytes = file.read()
        except ImportError as error:
            which = missing_package(address, error)
            raise UserError(f"data.store={address!r}: cannot be read without another package; {which}") from error
        except FileNotFoundError as error:
            raise UserError(
                f"data.store={address!r}: no {MANIFEST} there; a data folder that `mobilebert prepare` has finished "
                "is needed"
            ) from error
        except Exception as error:  # of whatever library reads such addresses
            raise UserError(f"data.store={address!r}: cannot be read ({one_line(error)})") from error

    def fetch(self, folder: str | Path, progress: bool = True) -> None:
        """Makes `folder` a copy: shards that are there and whole stay, the manifest comes last.

        From a folder on the same disk files are linked, not copied. Raises UserError for a shard that is missing there
        or does not have the content that the manifest names.
        """
        folder = Path(folder)
        manifest = folder / MANIFEST
        if manifest.is_file() and manifest.read_bytes() == self.manifest_bytes:
            return
        manifest.unlink(missing_ok=True)
        self._fetch_folder(TOKENIZER, folder / TOKENIZER)
        folder.mkdir(parents=True, exist_ok=True)
        # Read through a file, for the checks that a local manifest gets.
        draft = folder / f"{UNFINISHED}manifest"
        draft.mkdir(exist_ok=True)
        (draft / MANIFEST).write_bytes(self.manifest_bytes)
        shards = read_manifest(draft)["shards"]
        shutil.rmtree(draft)
        for entry in tqdm(shards, desc="fetching shards", unit="shard", disable=None if progress else True):
            self._fetch_shard(folder, entry)
        with atomic_path(manifest) as temporary:
            temporary.write_bytes(self.manifest_bytes)

    def _fetch_shard(self, folder: Path, entry: dict[str, Any]) -> None:
        place = shard_folder(folder, entry["name"])
        if not is_intact(folder, entry):
            self._fetch_folder(f"{SHARDS}/{entry['name']}", place)
        if not is_intact(folder, entry):
            shutil.rmtree(place, ignore_errors=True)
            raise UserError(
                f"data.store={self.address!r}: shard {entry['name']} is incomplete there, or not the one that "
                f"{MANIFEST} names; prepare it again"
            )

    def _fetch_folder(self, name: str, target: Path) -> None:
        source = f"{self._root}/{name}"
        try:
            with atomic_folder(target) as new:
                for path in self._files.find(source):
                    self._fetch_file(path, new / Path(path).relative_to(source))
        except FileNotFoundError as error:
            raise UserError(f"data.store={self.address!r}: no {name} there; prepare it again") from error

    def _fetch_file(self, path: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        if "file" in self._files.protocol:
            try:
                return os.link(path, target)
            except OSError:  # another disk, or one that knows no links
                pass
        self._files.get_file(path, str(target))

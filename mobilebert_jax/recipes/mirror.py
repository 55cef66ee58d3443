"""A folder of this machine and one in a bucket that shall hold the same.

The bucket is what lasts: `fetch` makes the folder like it, `keep` brings there what the folder has more. In the bucket
`.contents.json` names the files that were brought there as a whole; it is written last. What else lies there is half of
something, and not fetched. Without it, as where somebody has copied a run there, everything counts.
"""

import fnmatch
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from mobilebert_jax.recipes.lease import FOLDER as LEASE
from mobilebert_jax.recipes.lock import NAME as LOCK
from mobilebert_jax.recipes.selection import CANDIDATES
from mobilebert_jax.utils.addresses import Found, RemoteFolder
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import UNFINISHED, read_json, write_json

CONTENTS = ".contents.json"
CHECKPOINTS = "checkpoints"
"""Folders of this name are read and written in the bucket, not here."""

REPLACED = "events.out.tfevents.*"
"""Files that a restart begins anew under another name: the old one goes."""

AT_ONCE = 8
"""Files on their way at the same time."""


class Mirror:
    """`folder` and `remote`. One process writes there; any number may fetch, each into a folder of its own."""

    def __init__(self, remote: RemoteFolder, folder: Path):
        self._remote, self._folder = remote, folder
        self._lock = threading.Lock()
        self._names: set[str] = set()  # those in .contents.json
        self._found: set[str] = set()  # those that were there before this process wrote any
        self._note = folder.with_name(f"{folder.name}.json")
        self._kept = _noted(self._note)  # name -> [version there, size, time here] of what is the same in both

    def fetch(self) -> None:
        """Makes the folder like the bucket: brings what differs, removes what is not there. Reads no checkpoints."""
        with self._lock:
            there = {name: found for name, found in self._remote.list().items() if not _is_apart(name)}
            self._names = self._listed(there)
            self._found = set(self._names)
            self._remove_others(self._names)
            self._kept = {name: self._kept[name] for name in self._names if self._is_here(name, there[name])}
            missing = {name: there[name].version for name in self._names - set(self._kept)}
            scratch = self._folder / f"{UNFINISHED}fetch"
            try:
                with tqdm(total=len(missing), desc="fetching files", unit="file", disable=None) as progress:
                    _all(lambda item: (self._bring(*item, scratch), progress.update()), missing.items())
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
                self._write_note()

    def begin(self) -> None:
        """From now on only what `.contents.json` names counts, which is what has been fetched."""
        with self._lock:
            self._remote.write(CONTENTS, _listing(self._names))

    def keep(self) -> None:
        """Brings to the bucket what was written here since the last time, then its name."""
        with self._lock:
            found = self._local()
            changed = [name for name, stamp in found.items() if self._kept.get(name, [""])[1:] != stamp]
            gone = {name for name in self._names - set(found) if _may_go(name)}
            if not changed and not gone:
                return
            came = _all(lambda name: self._remote.put(self._folder / name, name), changed)
            changed = [name for name, is_there in zip(changed, came, strict=True) if is_there]
            self._list_as((self._names | set(changed)) - gone)
            _all(self._remote.remove, gone)
            there = self._remote.list()
            self._kept |= {name: [there[name].version, *found[name]] for name in changed if name in there}
            self._write_note()

    def put(self, name: str) -> None:
        """Brings one file there, beside whatever process works there."""
        self._remote.put(self._folder / name, name)

    def forget(self, *entries: str) -> None:
        """Removes from the bucket what this process has brought there of these files and folders, if they are gone."""
        with self._lock:
            entries = {entry for entry in entries if not (self._folder / entry).exists()}
            gone = {name for name in self._names - self._found if name.split("/")[0] in entries}
            self._list_as(self._names - gone)
            _all(self._remote.remove, gone)
            if not self._names:
                self._remote.remove(CONTENTS)

    def _listed(self, there: Iterable[str]) -> set[str]:
        """The names of what is whole; UserError where nothing can be known of that."""
        contents = self._remote.read(CONTENTS)
        try:
            return set(there) if contents is None else set(json.loads(contents)) & set(there)
        except (ValueError, TypeError) as error:
            raise UserError(
                f"{self._remote.address}/{CONTENTS}: damaged; remove it if all the files beside it are whole"
            ) from error

    def _list_as(self, names: set[str]) -> None:
        if names != self._names:
            self._remote.write(CONTENTS, _listing(names))
            self._names = names

    def _local(self) -> dict[str, list[int]]:
        """Name -> [size, time of the last change] of what is finished here."""
        found = {}
        for folder, folders, files in os.walk(self._folder):
            folders[:] = [name for name in folders if not name.startswith(UNFINISHED) and name != CHECKPOINTS]
            for path in (Path(folder, name) for name in files):
                name = str(path.relative_to(self._folder))
                try:
                    status = path.stat()
                except FileNotFoundError:  # replaced, or a scratch file
                    continue
                if path.name != LOCK and not path.name.startswith(UNFINISHED):
                    found[name] = [status.st_size, status.st_mtime_ns]
        return found

    def _is_here(self, name: str, found: Found) -> bool:
        path = self._folder / name
        if name not in self._kept or not path.is_file():
            return False
        status = path.stat()
        return self._kept[name] == [found.version, status.st_size, status.st_mtime_ns]

    def _bring(self, name: str, version: str, scratch: Path) -> None:
        path, part = self._folder / name, scratch / name
        for each in (path, part):
            each.parent.mkdir(parents=True, exist_ok=True)
        if self._remote.get(name, part):
            os.replace(part, path)
            status = path.stat()
            self._kept[name] = [version, status.st_size, status.st_mtime_ns]

    def _remove_others(self, there: Iterable[str]) -> None:
        for name in set(self._local()) - set(there):
            (self._folder / name).unlink()
        for folder, _, _ in os.walk(self._folder, topdown=False):
            if folder != str(self._folder) and not os.listdir(folder):
                os.rmdir(folder)

    def _write_note(self) -> None:
        if self._kept or self._note.exists():
            write_json(self._note, self._kept, indent=None)


def _listing(names: set[str]) -> bytes:
    return json.dumps(sorted(names)).encode()


def _noted(path: Path) -> dict[str, list]:
    try:
        return dict(read_json(path))
    except (OSError, ValueError):
        return {}


def _may_go(name: str) -> bool:
    # Candidates go once a model is chosen among them, there as here.
    return fnmatch.fnmatch(Path(name).name, REPLACED) or CANDIDATES in name.split("/")[:-1]


def _is_apart(name: str) -> bool:
    parts = name.split("/")
    return parts[0] in (LEASE, CONTENTS) or CHECKPOINTS in parts[:-1]


def _all(work: Callable, items: Iterable) -> list:
    """`work` of each, several at once; the first that fails, fails."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(work, items))

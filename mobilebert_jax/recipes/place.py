"""Where a run works: its workdir, or, where that is an address (`gs://bucket/run`), a folder of this machine for it.

Everything but checkpoints is written in that folder and brought to the bucket: within a minute, with every checkpoint
(which Orbax writes in the bucket itself), at the end of every phase, and when the run ends or is stopped. On a machine
that has nothing of the run, everything comes down first. Every process has a folder of its own; the first one writes.
"""

import contextlib
import hashlib
import re
import threading
from collections.abc import Iterator
from pathlib import Path

from mobilebert_jax.parallel.processes import is_first, on_first, own_number
from mobilebert_jax.recipes.lease import Lease
from mobilebert_jax.recipes.lock import locked, make_workdir
from mobilebert_jax.recipes.mirror import Mirror
from mobilebert_jax.training.stopping import HasReason, interruptible
from mobilebert_jax.utils.addresses import RemoteFolder, is_address
from mobilebert_jax.utils.cache import cache_folder
from mobilebert_jax.utils.errors import UserError

EVERY = 60.0
"""Seconds between two looks at what is new in the folder."""


class Place:
    """A run's folder on this machine, and how what it holds lasts."""

    def __init__(self, folder: Path, address: str = "", mirror: Mirror | None = None, lease: Lease | None = None):
        self.folder, self._address = folder, address
        self._mirror, self._lease = mirror, lease
        self._wanted, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep_up, daemon=True)

    def checkpoints(self, phase: str) -> str | Path:
        """Where those of a phase lie."""
        return f"{self._address}/{phase}/checkpoints" if self._address else self.folder / phase / "checkpoints"

    def keep_soon(self) -> None:
        """Lets what is in the folder last, in the background. UserError if another job has taken the bucket over."""
        if self._lease:
            self._lease.check()
            self._wanted.set()

    def share(self) -> None:
        """What the first process has in its folder lasts, and all processes have it in theirs."""
        if self._address:
            on_first(self._keep)
            if not is_first():
                self._mirror.fetch()

    def put(self, name: str) -> str:
        """Lets one file last; returns where it is then, in the user's words."""
        if not self._address:
            return str(self.folder / name)
        self._mirror.put(name)
        return f"{self._address}/{name}"

    def begin(self) -> None:
        """From now on what is written lasts by itself."""
        self._mirror.begin()
        self._thread.start()

    def end(self) -> None:
        """Lets everything last; the first process calls this."""
        self._over.set()
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join()
        self._keep()

    def forget_refused(self) -> None:
        """What a refusal has taken out of the folder (`workdir.unchanged_if_refused`) goes from the bucket too."""
        self._lease.check()
        self._mirror.forget("config.json", "data")

    def _keep(self) -> None:
        self._lease.check()
        self._mirror.keep()

    def _keep_up(self) -> None:
        while not self._over.is_set():
            self._wanted.wait(EVERY)
            self._wanted.clear()
            with contextlib.suppress(UserError, OSError):  # a later one, or the last, succeeds or says so
                self._keep()


@contextlib.contextmanager
def opened(workdir: str | Path, stopper: HasReason) -> Iterator[Place]:
    """The place of a run, for this run alone; all its processes call this.

    Raises:
        UserError: another run works there, or it cannot be reached. Stopped: asked to stop meanwhile.
    """
    with contextlib.ExitStack() as held:
        if not is_address(workdir):
            on_first(lambda: held.enter_context(locked(workdir)))
            yield Place(Path(workdir))
            return
        held.enter_context(_in_their_words(workdir))
        place = on_first(lambda: held.enter_context(_leased(str(workdir), stopper)))
        yield place or _follower(str(workdir))


def prepared_alone(workdir: str | Path, share: str) -> None:
    """UserError for a share of a text in a bucket: the machines that prepare shares need one folder."""
    if is_address(workdir):
        raise UserError(
            f"--shard={share}: shares are prepared in a folder that all machines see, and {workdir} is none; prepare "
            "the text in one, or whole"
        )


@contextlib.contextmanager
def looked_into(workdir: str | Path) -> Iterator[Place]:
    """A run as it is now, for whoever adds no more than a file to it; also while a run works there."""
    if not is_address(workdir):
        yield Place(Path(workdir))
        return
    folder, address = folder_of(workdir), str(workdir).rstrip("/")
    with _in_their_words(workdir):
        mirror = Mirror(RemoteFolder(address, "--workdir"), make_workdir(folder))
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(locked(folder))
            except UserError:  # a run of this machine: all that there is, is there
                pass
            else:
                mirror.fetch()
        yield Place(folder, address, mirror)


def local_copy(path: str, option: str) -> str:
    """`path`, or a copy on this machine of the folder at this address; UserError where there is none."""
    if not is_address(path):
        return path
    remote, folder = RemoteFolder(path, option), folder_of(path, "copies")
    if not remote.list():
        raise UserError(f"{option}={path}: nothing there")
    with locked(folder, wait=True):
        Mirror(remote, folder).fetch()
    return str(folder)


def folder_of(workdir: str | Path, kind: str = "runs") -> Path:
    """The workdir, or this process' folder for an address."""
    if not is_address(workdir):
        return Path(workdir)
    address = str(workdir).rstrip("/")
    readable = re.sub(r"\W+", "-", address.partition("://")[2])[-60:].strip("-")
    name = f"{readable}-{hashlib.sha256(address.encode()).hexdigest()[:12]}"
    return Path(cache_folder(), kind, f"{name}-{own_number()}")


@contextlib.contextmanager
def _leased(address: str, stopper: HasReason) -> Iterator[Place]:
    """The first process' place: nobody else writes there until this ends, and then everything is there."""
    address, folder = address.rstrip("/"), folder_of(address)
    with locked(folder):
        remote = RemoteFolder(address, "--workdir")
        remote.check_bucket()
        mirror, lease = Mirror(remote, folder), Lease(remote, f"--workdir={address}")
        lease.take(stopper)
        try:
            interruptible(mirror.fetch, stopper, "the run has not come from the bucket yet")
            place = Place(folder, address, mirror, lease)
            place.begin()
            try:
                yield place
            except UserError:
                place.forget_refused()
                raise
            finally:
                place.end()
        finally:
            lease.release()


def _follower(address: str) -> Place:
    folder = make_workdir(folder_of(address))
    return Place(folder, address.rstrip("/"), Mirror(RemoteFolder(address, "--workdir"), folder))


@contextlib.contextmanager
def _in_their_words(workdir: str | Path) -> Iterator[None]:
    """Errors speak of the address, not of the folder that stands for it here."""
    try:
        yield
    except UserError as error:
        text = str(error).replace(str(folder_of(workdir)), str(workdir).rstrip("/"))
        if text == str(error):
            raise
        raise type(error)(text) from error

"""onnxruntime-web: what runs the model in a browser. npm brings it once; then it lies in the cache."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mobilebert_jax.utils.cache import cache_folder
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import atomic_folder, read_json

PACKAGE = "onnxruntime-web"
NPM = Path(__file__).parent / "npm"
"""package.json and its lock, which says what the package's content must be."""

WASM = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
WEBGPU = ("ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm")
"""The package's files that a page asks for, by device."""


def runtime_version() -> str:
    """The version that is used."""
    return read_json(NPM / "package.json")["dependencies"][PACKAGE]


def runtime_place() -> Path:
    """Where they lie in the cache, once they are there."""
    return cache_folder() / "web" / f"{PACKAGE}-{runtime_version()}"


def runtime_folder() -> Path:
    """The folder with the files above, from the cache or, once, by npm.

    Raises:
        UserError: they are not there, and npm is missing or fails.
    """
    folder = runtime_place()
    if not folder.is_dir():
        with atomic_folder(folder) as made, tempfile.TemporaryDirectory() as scratch:
            dist = _install(Path(scratch)) / "node_modules" / PACKAGE / "dist"
            for name in (*WASM, *WEBGPU):
                shutil.copyfile(dist / name, made / name)
    return folder


def copy_runtime(output: Path, names: Sequence[str]) -> None:
    """Copies these of the files into a new folder."""
    output.mkdir()
    for name in names:
        shutil.copyfile(runtime_folder() / name, output / name)


def _install(folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(
            f"npm is missing, which brings {PACKAGE} {runtime_version()} once: install Node.js (apt-get install npm, "
            "brew install node) and give the same command again"
        )
    for path in NPM.iterdir():
        shutil.copyfile(path, folder / path.name)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise UserError(f"npm could not bring {PACKAGE} {runtime_version()}: {' '.join(lines[:3])}")
    return folder

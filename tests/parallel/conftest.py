import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mobilebert_jax.parallel.hlo_text import parse_module

ROOT = Path(__file__).parents[2]


class Texts:
    """Programs of `compile_texts` by name."""

    def __init__(self, folder):
        self.folder = folder

    def text(self, name):
        return (self.folder / f"{name}.txt").read_text()

    def module(self, name):
        return parse_module(self.text(name))

    def counted(self, name):
        """What XLA's own cost analysis says."""
        return json.loads((self.folder / f"{name}.json").read_text())


@pytest.fixture(scope="session")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "tests.parallel.compile_texts", str(folder)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=120)
    return Texts(folder)

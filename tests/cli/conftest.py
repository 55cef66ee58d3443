import signal

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from mobilebert_jax.cli.main import main
from tests.recipes.tiny_run import XLA_FLAGS


@pytest.fixture(autouse=True)
def keep_signal_handlers():
    """Commands that train take SIGTERM and Ctrl-C over."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def command(capfd, monkeypatch, tmp_path):
    """Runs a command in this process, in an empty folder: words -> (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XLA_FLAGS", XLA_FLAGS)  # as other processes of these tests have it, so that none warns of it

    def call(*words):
        code = main([str(word) for word in words])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def refusal(command):
    """Runs a command that must be refused: words -> the one line on stderr."""

    def call(*words):
        code, out, error = command(*words)
        assert (code, out) == (2, ""), error
        assert error.startswith("mobilebert: ") and error.count("\n") == 1, error
        return error

    return call


@pytest.fixture(scope="module")
def compiled_once(tmp_path_factory):
    """Programs are compiled quickly and kept, so that a run that goes on does not compile them again."""
    kept = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("compiled")),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in kept}
    for values in (kept, before):
        for name, value in values.items():
            jax.config.update(name, value)
        jax.config.update("jax_disable_most_optimizations", values is kept)
        compilation_cache.reset_cache()
        if values is kept:
            yield

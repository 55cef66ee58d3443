import jax
import pytest

from mobilebert_jax.parallel import start


@pytest.mark.parametrize(("processes", "kept"), [(1, True), (2, False)])
def test_several_processes_on_cpus_compile_anew(monkeypatch, processes, kept):
    before = jax.config.jax_enable_compilation_cache
    monkeypatch.setattr(jax, "process_count", lambda: processes)
    try:
        jax.config.update("jax_enable_compilation_cache", True)
        start._without_cache_on_cpu()
        assert jax.config.jax_enable_compilation_cache == kept
    finally:
        jax.config.update("jax_enable_compilation_cache", before)

import jax
import pytest


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    """Halves the time of the many compilations here; what the programs compute does not depend on it."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)

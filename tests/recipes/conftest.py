import pytest
from ml_collections import ConfigDict

from mobilebert_jax.cli.flags import load_config


@pytest.fixture
def config() -> ConfigDict:
    """The paper's config with something to read, open to changes."""
    config = load_config("mobilebert", ["data.corpus=corpus.txt"])
    config.unlock()
    return config

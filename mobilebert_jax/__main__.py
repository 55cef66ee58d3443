"""`python -m mobilebert_jax` is `mobilebert`."""

from mobilebert_jax.cli.main import entry_point

entry_point()

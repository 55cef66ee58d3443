"""Names that a measurement is asked for on the command line."""

from collections.abc import Sequence

from mobilebert_jax.utils.errors import UserError


def chosen(given: Sequence[str], known: Sequence[str], option: str) -> tuple[str, ...]:
    """Those of `known` that are given, in its order; all where none is. UserError names one that there is not."""
    for name in given:
        if name not in known:
            raise UserError(f"{option}={name}: there is no such one, only {', '.join(known)}")
    return tuple(name for name in known if name in given) if given else tuple(known)

"""What would make a step fit that does not: changes of the config, tried one after the other."""

from collections.abc import Callable, Iterator
from typing import Any

from ml_collections import ConfigDict

from mobilebert_jax.parallel.layout import Layout

MOST_MICROBATCHES = 8
"""So many times the config's number are tried."""

Change = dict[str, Any]
"""Setting -> value."""


def ways(config: ConfigDict, name: str, layout: Layout) -> Iterator[Change]:
    """Changes that take memory from the phase's step without changing what is learned, the least costly first."""
    settings = config[name]
    times = 2
    while times <= MOST_MICROBATCHES:
        accumulation = times * settings.accumulation
        if settings.batch_size % (accumulation * layout.batch_shards):
            break
        yield {f"{name}.accumulation": accumulation}
        times *= 2
    network = "teacher" if name == "teacher" else "student"
    if config.model[network].remat != "full":
        remat = {f"model.{network}.remat": "full"}
        yield remat
        if times > 2:
            yield {f"{name}.accumulation": times // 2 * settings.accumulation, **remat}


def what_fits(config: ConfigDict, name: str, layout: Layout, fits: Callable[[ConfigDict], bool]) -> str:
    """The first of `ways` whose step `fits`, in words, or that none does."""
    tried = []
    for change in ways(config, name, layout):
        changed = ConfigDict(config.to_dict())
        changed.update_from_flattened_dict(change)
        tried.append(" ".join(f"--config.{setting}={value}" for setting, value in change.items()))
        if fits(changed):
            return f"it fits with {tried[-1]}"
    elsewhere = "more devices, or a preset that splits parameters (--search tries them)"
    return f"nor does it with {' or with '.join(tried)}: take {elsewhere}" if tried else f"take {elsewhere}"

"""Random numbers that are a pure function of (seed, index, lane, salt): no state, any order, any slice.

The counter is hashed with the finaliser of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
generators, 2014), once for the stream and once for the lane.
"""

import numpy as np

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def random_bits(seed: int, index: np.ndarray, salt: int, lanes: int | None = None) -> np.ndarray:
    """uint64 [B], or [B, lanes], for `index` [B] of any integer type: 64 random bits for each index (and lane).

    `salt` keeps draws for different purposes apart.
    """
    stream = _mix_int(_mix_int(seed & _MASK) + salt)
    keys = _mix(np.asarray(index).astype(np.uint64) * np.uint64(_GOLDEN) + np.uint64(stream))
    if lanes is None:
        return keys
    return _mix(keys[:, None] + np.arange(1, lanes + 1, dtype=np.uint64) * np.uint64(_GOLDEN))


def uniforms(seed: int, index: np.ndarray, salt: int, lanes: int | None = None) -> np.ndarray:
    """float64 [B] or [B, lanes], uniform in [0, 1), multiples of 2**-53."""
    return (random_bits(seed, index, salt, lanes) >> np.uint64(11)) * 2.0**-53


def integers(seed: int, index: np.ndarray, salt: int, bound: np.ndarray | int, lanes: int | None = None) -> np.ndarray:
    """int64 [B] or [B, lanes], uniform in [0, bound); `bound` (>= 1, below 2**53) broadcasts against the result."""
    return (uniforms(seed, index, salt, lanes) * bound).astype(np.int64)


def _mix(bits: np.ndarray) -> np.ndarray:
    """Splitmix64's finaliser, in place."""
    bits ^= bits >> np.uint64(30)
    bits *= np.uint64(0xBF58476D1CE4E5B9)
    bits ^= bits >> np.uint64(27)
    bits *= np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    return bits


def _mix_int(value: int) -> int:
    """The same for one Python integer, after a step of the counter."""
    return int(_mix(np.array([(value + _GOLDEN) & _MASK], np.uint64))[0])

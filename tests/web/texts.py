"""Odd words, a tokenizer that knows them, and their places as a browser counts."""

import functools

from mobilebert_jax.text.tokenizer import train_tokenizer

WORDS = "the cat sat on mats zebra café cafe\u0301 naïve 東京 昔 🐱🐱 Straße İstanbul".split()
WORDS += "x\ud800y it's 3.14 [MASK] <b> \u200b".split()
GAPS = [" ", " ", " ", "\n", "\r\n", "\t", "\u00a0", "", "-", ", ", ". "]


@functools.cache
def tokenizer():
    return train_tokenizer([" ".join(WORDS[:-5]).replace("\ud800", ""), "who sat where and why did they sit"] * 3, 160)


def some_text(rng, most):
    return "".join(rng.choice(WORDS) + rng.choice(GAPS) for _ in range(rng.randint(0, most)))


def units(text, place):
    """A place counted in characters, in JavaScript's units."""
    return len(text[:place].encode("utf-16-le", "surrogatepass")) // 2

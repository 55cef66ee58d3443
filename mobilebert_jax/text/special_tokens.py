"""The five special tokens: how a folder names them, which ids they have, where they stand in a text."""

import re
from collections.abc import Container, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import read_json

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ROLES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
"""What the special tokens are for, in their order; a folder's settings may give a role to another token."""

CONFIG = "tokenizer_config.json"
MAP = "special_tokens_map.json"
SETTINGS = (MAP, CONFIG)
"""Files beside a vocabulary that say which tokens are special and how text is prepared; the later one wins."""

# JSON may smuggle halves of surrogate pairs into a str; the libraries' native side takes valid Unicode only.
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class PieceTable:
    """Numbered pieces of text, five of them special: padding, unknown, first, separator, mask.

    `pieces[i]` is the piece with id i, as it is written in the vocabulary; `vocab_size` counts added tokens too.
    """

    def __init__(self, pieces: Sequence[str], special_tokens: Sequence[str], source: str):
        """`special_tokens` play the five roles, in the order of `ROLES`.

        Raises:
            UserError: one of them is no piece, or has two roles; the message names `source`.
        """
        ids = {piece: index for index, piece in enumerate(pieces)}
        missing = [token for token in special_tokens if token not in ids]
        if missing:
            raise UserError(
                f"{source}: no {' '.join(missing)} in the vocabulary; special tokens for padding, unknown, first, "
                f"separator and mask are needed ({MAP} beside it may give them other names)"
            )
        for index, token in enumerate(special_tokens):
            if token in special_tokens[:index]:
                roles = f"{ROLES[special_tokens.index(token)]} and {ROLES[index]}"
                raise UserError(f"{source}: {token} is both {roles}; five different tokens are needed")
        self.pieces = tuple(pieces)
        self.vocab_size = len(self.pieces)
        self.special_tokens = tuple(special_tokens)
        self.special_ids: tuple[int, ...] = tuple(ids[token] for token in special_tokens)
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = self.special_ids

    @cached_property
    def is_special(self) -> np.ndarray:
        """bool [vocab_size]."""
        return np.isin(np.arange(self.vocab_size), self.special_ids)


def role_names(special_tokens: Sequence[str]) -> dict[str, str]:
    """What special_tokens_map.json says: `{"pad_token": "[PAD]", ...}`."""
    return dict(zip(ROLES, special_tokens, strict=True))


def read_settings(folder: Path) -> dict[str, Any]:
    """What the files beside a vocabulary say; roles as plain tokens. {} without files.

    Raises:
        UserError: a file that is not a JSON object, or a role that is no token.
    """
    settings: dict[str, Any] = {}
    for name in SETTINGS:
        try:
            found = read_json(folder / name) if (folder / name).is_file() else {}
        except ValueError as error:
            raise UserError(f"{folder / name}: not JSON ({error})") from error
        if not isinstance(found, dict):
            raise UserError(f"{folder / name}: a JSON object is needed")
        settings |= found
    for role in ROLES:
        token = settings.get(role)
        token = token.get("content") if isinstance(token, dict) else token
        if token is None:
            settings.pop(role, None)
        elif not isinstance(token, str):
            raise UserError(f"{folder / CONFIG}: {role}={token!r}; a token is needed")
        else:
            settings[role] = token
    return settings


def choose_special_tokens(settings: Mapping[str, Any], usual: Sequence[str] = SPECIAL_TOKENS) -> list[str]:
    """The tokens of the five roles: what `settings` say, else the usual ones."""
    return [settings.get(role, token) for role, token in zip(ROLES, usual, strict=True)]


def usual_special_tokens(pieces: Container[str]) -> list[str]:
    """BERT's, but <pad> and <unk>, ALBERT's, where the pieces have those instead."""
    other = {"[PAD]": "<pad>", "[UNK]": "<unk>"}
    return [other[token] if token not in pieces and other.get(token) in pieces else token for token in SPECIAL_TOKENS]


def valid_unicode(texts: Sequence[str]) -> list[str]:
    """The texts with U+FFFD in the place of halves of surrogate pairs; every character stays where it is."""
    return [_LONE_SURROGATE.sub("\ufffd", text) for text in texts]

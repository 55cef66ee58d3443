"""What tokenizers of the `tokenizers` library have in common."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, processors

from mobilebert_jax.text.special_tokens import MAP, PieceTable, role_names, valid_unicode
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import atomic_path, write_json


class BackendTokenizer(PieceTable):
    """Text to ids and back by a `tokenizers.Tokenizer`, `backend`.

    It adds no special tokens, never truncates and never pads; special tokens written in a text ("[MASK]") are
    recognised.
    """

    def __init__(self, backend: tokenizers.Tokenizer, source: str, special_tokens: Sequence[str]):
        """Raises UserError for a vocabulary with gaps or without these tokens; the message names `source`."""
        backend.post_processor = None
        backend.no_truncation()
        backend.no_padding()
        backend.add_special_tokens(
            [AddedToken(token, special=True) for token in special_tokens if backend.token_to_id(token) is not None]
        )
        pieces = [backend.id_to_token(index) for index in range(backend.get_vocab_size(with_added_tokens=True))]
        if None in pieces:
            raise UserError(f"{source}: id {pieces.index(None)} has no token; ids must run from 0 without gaps")
        super().__init__(pieces, special_tokens, source)
        self.backend = backend

    def encode_batch(self, texts: Sequence[str]) -> list[tokenizers.Encoding]:
        """One `Encoding` a text: `.ids`, and `.offsets`, half-open character ranges of that text; no special tokens."""
        return self.backend.encode_batch(valid_unicode(texts))

    def ids_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of `encode_batch`, without looking for their places."""
        return self._encode(valid_unicode(texts))

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self.backend.encode_batch_fast(list(texts))]

    def decode(self, ids: Sequence[int]) -> str:
        """Pieces joined to words, without special tokens."""
        return self.backend.decode(list(ids), skip_special_tokens=True)

    def fingerprint(self) -> str:
        """Hex SHA-256 of everything that decides which ids a text gets."""
        settings = backend_settings(self.backend)
        decisive = {name: settings[name] for name in ("normalizer", "pre_tokenizer", "model", "added_tokens")}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def backend_settings(backend: tokenizers.Tokenizer) -> dict[str, Any]:
    """What its tokenizer.json says."""
    return json.loads(backend.to_str())


def read_backend(path: Path) -> tokenizers.Tokenizer:
    """A tokenizer.json as it is; UserError when the library cannot read it."""
    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise UserError(f"{path}: not a tokenizer.json that the tokenizers library reads ({error})") from error


def write_backend(folder: Path, backend: tokenizers.Tokenizer, table: PieceTable) -> None:
    """Writes tokenizer.json and special_tokens_map.json; texts are wrapped as [CLS] A [SEP] B [SEP] there."""
    _, _, cls, sep, _ = table.special_tokens
    complete = tokenizers.Tokenizer.from_str(backend.to_str())
    complete.post_processor = processors.TemplateProcessing(
        single=[cls, "$A", sep],
        pair=[cls, "$A", sep, "$B:1", f"{sep}:1"],
        special_tokens=[(cls, table.cls_id), (sep, table.sep_id)],
    )
    with atomic_path(folder / "tokenizer.json") as temporary:
        complete.save(str(temporary))
    write_json(folder / MAP, role_names(table.special_tokens))


def fast_config(table: PieceTable, lowercase: bool) -> dict[str, Any]:
    """What tokenizer_config.json says of a tokenizer.json for which transformers has no class of its own."""
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": lowercase}
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    return config | role_names(table.special_tokens) | {"model_input_names": inputs}

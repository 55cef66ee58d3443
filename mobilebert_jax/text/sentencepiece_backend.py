"""A SentencePiece model as a tokenizer of the `tokenizers` library, for its tokenizer.json.

That file is what transformers and transformers.js read. For the models that are trained here it gives the ids that
SentencePiece gives, but for combining marks in an order that Unicode does not want. With other models the two libraries
may also choose differently between cuts of a word that score the same, and read compiled rules a little differently.
"""

import sentencepiece
import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

from mobilebert_jax.text.sentencepiece_model import WORD_MARK, ModelFile, Piece, PieceType
from mobilebert_jax.text.sentencepiece_rule import probe, rule_normalizers


def convert(model: ModelFile, data: bytes, unk_token: str) -> tokenizers.Tokenizer:
    """The model, whose file's bytes are `data`.

    User-defined pieces of a BPE become added tokens, which also cut words where SentencePiece would not mark one.
    """
    backend = tokenizers.Tokenizer(_bpe(model, unk_token) if model.kind == "bpe" else _unigram(model))
    backend.normalizer = normalizers.Sequence(_normalizers(model, data))
    split = not any(WORD_MARK in piece.text[1:] for piece in model.pieces)
    scheme = "always" if model.dummy_prefix else "never"
    backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement=WORD_MARK, prepend_scheme=scheme, split=split)
    backend.decoder = decoders.Metaspace(replacement=WORD_MARK, prepend_scheme=scheme)
    if model.kind == "bpe":  # in a unigram it is their scores that keep them whole
        own = [piece.text for piece in model.pieces if piece.type == PieceType.USER_DEFINED]
        backend.add_tokens([AddedToken(text, normalized=False, special=False) for text in own])
    return backend


def _unigram(model: ModelFile) -> models.Unigram:
    unknown = next(index for index, piece in enumerate(model.pieces) if piece.type == PieceType.UNKNOWN)
    best = max(piece.score for piece in model.pieces if piece.type == PieceType.NORMAL)
    scored = [(piece.text, _score(piece, best)) for piece in model.pieces]
    return models.Unigram(scored, unk_id=unknown, byte_fallback=model.byte_fallback)


def _score(piece: Piece, best: float) -> float:
    """The piece's own; SentencePiece gives a user-defined piece this one, which no other cut of its text reaches."""
    return len(piece.text.encode()) * best - 0.1 if piece.type == PieceType.USER_DEFINED else piece.score


def _bpe(model: ModelFile, unk_token: str) -> models.BPE:
    """Every way to make a piece of two becomes a rule; the best piece's come first.

    SentencePiece keeps scores of pieces, the tokenizers library a list of pairs in the order of their merging.
    """
    ids = {piece.text: index for index, piece in enumerate(model.pieces)}
    usual = {piece.text for piece in model.pieces if piece.type == PieceType.NORMAL}
    ranked = sorted((piece for piece in model.pieces if piece.text in usual), key=lambda piece: -piece.score)
    merges = [pair for piece in ranked for pair in _halves(piece.text, usual, ids)]
    return models.BPE(ids, merges, unk_token=unk_token, fuse_unk=True, byte_fallback=model.byte_fallback)


def _halves(text: str, usual: set[str], ids: dict[str, int]) -> list[tuple[str, str]]:
    """The two-piece splits of a piece, those of early pieces first."""
    splits = [(text[:at], text[at:]) for at in range(1, len(text))]
    return sorted((pair for pair in splits if usual.issuperset(pair)), key=lambda pair: (ids[pair[0]], ids[pair[1]]))


def _normalizers(model: ModelFile, data: bytes) -> list[normalizers.Normalizer]:
    """Steps that do what the model's own normalisation does.

    For our own rule they are its steps; for another, the library's reading of the compiled map, which loses accents
    that stand apart behind letters that change.
    """
    ends = [normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()] if model.squeeze_spaces else []
    if not model.charsmap:
        return ends
    return [*(_own_rule(data) or [normalizers.Precompiled(model.charsmap)]), *ends]


def _own_rule(data: bytes) -> list[normalizers.Normalizer] | None:
    """The steps of our rule, if the model's is that one."""
    theirs = sentencepiece.SentencePieceNormalizer(
        model_proto=data, add_dummy_prefix=False, escape_whitespaces=False, remove_extra_whitespaces=False
    )
    lowercase, text = theirs.normalize("A") == "a", probe()
    steps = rule_normalizers(lowercase)
    return steps if theirs.normalize(text) == normalizers.Sequence(steps).normalize_str(text) else None

"""What a .tflite says of itself: the standard TFLITE_METADATA, and the files that come with it.

With them Google's Task Library (BertQuestionAnswerer, BertNLClassifier) and MediaPipe's TextClassifier need no other
file. The tables are those of tensorflow/tflite-support's metadata_schema.fbs, version 1.1.0, and the tensors' names are
those that these libraries look for.
"""

import hashlib
from pathlib import Path
from typing import Any

import flatbuffers
import flax.linen as nn

from mobilebert_jax.export.tflite_file import Names, tensor_names, with_buffer, with_files
from mobilebert_jax.models.folder_config import folder_config
from mobilebert_jax.models.heads import MobileBertForSequenceClassification
from mobilebert_jax.text.tokenizer import load_tokenizer
from mobilebert_jax.text.tokenizer_files import TokenizerFiles
from mobilebert_jax.text.wordpiece import WordPiece
from mobilebert_jax.utils.types import INPUTS

ENTRY, IDENTIFIER, PARSER = "TFLITE_METADATA", b"M001", "1.1.0"
LICENSE = "Apache-2.0"
VOCABULARY, LABELS = "vocab.txt", "labels.txt"

# Numbers of the schema: AssociatedFileType, ContentProperties, ProcessUnitOptions.
LABELS_FILE, VOCABULARY_FILE = 2, 5
FEATURE = 1
BERT_TOKENIZER = 4

TENSORS = {
    "input_ids": ("ids", "Numbers of the text's tokens in the vocabulary."),
    "attention_mask": ("mask", "1 for a token, 0 for padding behind the text."),
    "token_type_ids": ("segment_ids", "0 for the first text, 1 for the second one, where there are two."),
    "start_logits": ("start_logits", "How well an answer begins at each token."),
    "end_logits": ("end_logits", "How well an answer ends with each token."),
    "probability": ("probability", "Of each class; together they are 1."),
    "logits": ("logits", "A score for each class, or the number that a regression gives."),
}
"""The signature's names -> the metadata's, and what the tensors hold; others keep their names."""
PURPOSES = {
    "QuestionAnswering": "Finds the answer to a question in a text",
    "SequenceClassification": "Puts a text, or two, into a class",
    "TokenClassification": "Puts each token into a class",
    "MaskedLM": "Fills in masked tokens",
}


def described(model: bytes, network: nn.Module, files: TokenizerFiles) -> bytes:
    """The .tflite of `network` with metadata, and its vocabulary and labels as files.

    Task libraries lowercase texts: a vocabulary of another kind is left out, so that they refuse the model instead of
    misreading it.

    Raises:
        UserError: the extra is not installed.
    """
    vocabulary, labels = _vocabulary(files.folder, files), _labels(network)
    added = {VOCABULARY: vocabulary, LABELS: labels}
    version = hashlib.sha256(model).hexdigest()[:12]
    metadata = _encoded(_model_metadata(network, version, tensor_names(model), bool(vocabulary), bool(labels)))
    return with_files(
        with_buffer(model, ENTRY, metadata), {name: content for name, content in added.items() if content}
    )


def _vocabulary(folder: Path, files: TokenizerFiles) -> bytes:
    """A line for each id, of an uncased WordPiece; empty for others."""
    tokenizer = load_tokenizer(folder) if files.names else None
    if not isinstance(tokenizer, WordPiece) or not tokenizer.lowercase:
        return b""
    stored = folder / VOCABULARY
    return stored.read_bytes() if stored.is_file() else "".join(f"{piece}\n" for piece in tokenizer.pieces).encode()


def _labels(network: nn.Module) -> bytes:
    if not isinstance(network, MobileBertForSequenceClassification):
        return b""
    return "".join(f"{label}\n" for label in folder_config(network)["id2label"].values()).encode()


def _model_metadata(
    network: nn.Module, version: str, names: tuple[Names, Names], vocabulary: bool, labels: bool
) -> tuple:
    """The root table; a tuple is a table, field by field, None one that is left out, a list a vector."""
    architecture = folder_config(network)["architectures"][0]
    purpose = next((words for part, words in PURPOSES.items() if architecture.endswith(part)), "Encodes a text")
    words = _file(VOCABULARY, "A token a line; its number is the line's, from 0.", VOCABULARY_FILE)
    classes = _file(LABELS, "A class a line.", LABELS_FILE)
    inputs = [_tensor(name, []) for name in names[0]]
    outputs = [_tensor(name, [classes] if labels else []) for name in names[1]]
    units = [(BERT_TOKENIZER, ([words],))] if vocabulary else None
    graph = (None, None, inputs, outputs, None, units, None)
    description = f"{purpose}. Inputs are {', '.join(INPUTS)}; made by mobilebert-jax."
    return (architecture, description, version, [graph], None, LICENSE, None, PARSER)


def _file(name: str, description: str, kind: int) -> tuple:
    return (name, description, kind)


def _tensor(name: str, files: list[tuple]) -> tuple:
    known, description = TENSORS.get(name, (name, ""))
    return (known, description, None, (FEATURE, ()), None, None, files or None)


def _encoded(root: tuple) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(_written(builder, root), IDENTIFIER)
    return bytes(builder.Output())


def _written(builder: flatbuffers.Builder, value: Any) -> int:
    """Writes a string, a list of tables or a table; returns its offset."""
    if isinstance(value, str):
        return builder.CreateString(value)
    offsets = [each if each is None or isinstance(each, int) else _written(builder, each) for each in value]
    if isinstance(value, list):
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return builder.EndVector()
    builder.StartObject(len(value))
    for place, (given, written) in enumerate(zip(value, offsets, strict=True)):
        if isinstance(given, int):
            builder.PrependInt8Slot(place, given, 0)
        elif given is not None:
            builder.PrependUOffsetTRelativeSlot(place, written, 0)
    return builder.EndObject()

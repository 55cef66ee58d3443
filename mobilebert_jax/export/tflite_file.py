"""A finished .tflite, and what may be put into it without touching the rest: a named buffer, files at its end.

A .tflite is a FlatBuffer, whose references all point forwards. So a new root that refers into the old file is put in
front of it, and the weights stay as they are (tensorflow/lite's schema.fbs has the tables). Files follow the FlatBuffer
as a zip archive, not compressed, as the public metadata format wants them.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers

from mobilebert_jax.utils.errors import UserError

ALIGNMENT = 16
"""Of a buffer's content, in bytes."""
ENCODING = "utf-8"
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The date of all files in an archive, so that equal models give equal bytes."""
BUFFERS, METADATA = 4, 6
"""Places in the root table."""
VERSION = 2
"""Place in an operation's."""

Names = tuple[str, ...]


def _schema() -> Any:
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        raise UserError("LiteRT's runtime is missing: pip install 'mobilebert-jax[litert]'") from error
    return schema_py_generated


def tensor_names(model: bytes) -> tuple[Names, Names]:
    """The signature's names of the inputs and of the outputs, in the order in which the graph has its tensors."""
    root = _schema().Model.GetRootAs(model)
    graph, signature = root.Subgraphs(0), root.SignatureDefs(0)

    def names(count: int, tensor: Any, signed: int, entry: Any) -> Names:
        found = {entry(place).TensorIndex(): entry(place).Name().decode(ENCODING) for place in range(signed)}
        return tuple(found[tensor(place)] for place in range(count))

    return (
        names(graph.InputsLength(), graph.Inputs, signature.InputsLength(), signature.Inputs),
        names(graph.OutputsLength(), graph.Outputs, signature.OutputsLength(), signature.Outputs),
    )


def with_buffer(model: bytes, name: str, content: bytes) -> bytes:
    """The same with `content` as metadata of that name, and every buffer within the FlatBuffer.

    The quantizer puts large ones behind it, where readers of a few years ago do not look.

    Raises:
        UserError: the extra is not installed.
    """
    schema = _schema()
    old = schema.Model.GetRootAs(model)
    buffers = [old.Buffers(place) for place in range(old.BuffersLength())]
    behind = {place: (each.Offset(), each.Size()) for place, each in enumerate(buffers) if each.Offset() > 1}
    end = min((start for start, _ in behind.values()), default=len(model))
    builder = flatbuffers.Builder(len(model) + len(content) + 2**16)
    inside = _bytes(builder, model[:end]) - 4  # behind the vector's length
    kept = {place: inside - each._tab.Pos for place, each in enumerate(buffers)}
    for place, (start, size) in behind.items():
        kept[place] = _buffer(builder, model[start : start + size])
    entries = [inside - old.Metadata(place)._tab.Pos for place in range(old.MetadataLength())]
    kept[len(buffers)] = _buffer(builder, content)
    written = builder.CreateString(name)
    schema.MetadataStart(builder)
    schema.MetadataAddName(builder, written)
    schema.MetadataAddBuffer(builder, len(buffers))
    entries.append(schema.MetadataEnd(builder))
    lists = {BUFFERS: list(kept.values()), METADATA: entries}
    fields = _references(old._tab, inside) | {place: _vector(builder, offsets) for place, offsets in lists.items()}
    schema.ModelStart(builder)
    schema.ModelAddVersion(builder, old.Version())
    for place, offset in fields.items():
        builder.PrependUOffsetTRelativeSlot(place, offset, 0)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


def with_version(model: bytes, operation: str, version: int) -> bytes:
    """The same, but it asks for this version of an operation if it asked for a lower one but the first."""
    schema, changed = _schema(), bytearray(model)
    root = schema.Model.GetRootAs(model)
    for code in map(root.OperatorCodes, range(root.OperatorCodesLength())):
        field = code._tab.Offset(4 + 2 * VERSION)
        if code.BuiltinCode() == getattr(schema.BuiltinOperator, operation) and field and code.Version() < version:
            place = code._tab.Pos + field
            changed[place : place + 4] = version.to_bytes(4, "little")
    return bytes(changed)


def with_files(model: bytes, files: Mapping[str, bytes]) -> bytes:
    """The same with these files behind it; any zip reader finds them there."""
    if not files:
        return model
    whole = io.BytesIO(model)
    with zipfile.ZipFile(whole, "a", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), content)
    return whole.getvalue()


def _references(table: Any, inside: int) -> dict[int, int]:
    """Where every field of the old root but the version points to, as an offset of the new file, by its place."""
    start = table.Pos - table.Get(flatbuffers.number_types.SOffsetTFlags, table.Pos)
    places = (table.Get(flatbuffers.number_types.VOffsetTFlags, start) - 4) // 2
    offsets = {place: table.Offset(4 + 2 * place) for place in range(1, places)}
    return {
        place: inside - table.Indirect(table.Pos + offset)
        for place, offset in offsets.items()
        if offset and place not in (BUFFERS, METADATA)
    }


def _bytes(builder: flatbuffers.Builder, content: bytes) -> int:
    """A vector of bytes, the first of which is aligned."""
    builder.Prep(ALIGNMENT, len(content))
    return builder.CreateByteVector(content)


def _buffer(builder: flatbuffers.Builder, content: bytes) -> int:
    schema, data = _schema(), _bytes(builder, content)
    schema.BufferStart(builder)
    schema.BufferAddData(builder, data)
    return schema.BufferEnd(builder)


def _vector(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()

"""A model folder's tokenizer files, carried from one folder to another byte by byte."""

import dataclasses
import shutil
from pathlib import Path

NAMES = (
    "vocab.txt tokenizer.json tokenizer_config.json special_tokens_map.json added_tokens.json "
    "spiece.model sentencepiece.bpe.model spm.model tokenizer.model"
).split()
"""WordPiece, the tokenizers library's own file, their settings, and the names that SentencePiece models go by."""


@dataclasses.dataclass(frozen=True)
class TokenizerFiles:
    """Whatever lies in `folder` of a tokenizer; `save` is what `save_pretrained` asks of one."""

    folder: Path

    @property
    def names(self) -> list[str]:
        """The files that are there."""
        return [name for name in NAMES if (self.folder / name).is_file()]

    def save(self, folder: str | Path) -> None:
        """Copies them into `folder`."""
        for name in self.names:
            shutil.copyfile(self.folder / name, Path(folder) / name)

"""A model folder's tokenizer files, carried from one folder to another byte by byte."""

import dataclasses
import shutil
from pathlib import Path

MODELS = ("spiece.model", "sentencepiece.bpe.model", "spm.model", "tokenizer.model")
"""The names that SentencePiece models go by."""
NAMES = (
    *("vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *MODELS,
)
"""WordPiece, the tokenizers library's own file, their settings, SentencePiece."""


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

"""SentencePiece against the library itself, and models that others trained."""

import io
import json

import pytest
import sentencepiece
import tokenizers

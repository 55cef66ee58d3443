"""Docstrings and reStructuredText to plain English paragraphs: what reads as prose stays, code and layout go."""

# ruff: noqa: RUF001 (typographic quotes are meant)
import inspect
import re

_MARKUP = [
    (re.compile(r":(?:[\w.+-]+:)+`~?([^`<]+?)(?:\s*<[^>`]*>)?`"), r"\1"),  # :class:`Name <target>`
    (re.compile(r"`([^`<]+?)\s*<[^>`]*>`__?"), r"\1"),  # `text <address>`_
    (re.compile(r"``([^`]*)``|`([^`']*)['`]_{0,2}"), r"\1\2"),  # ``code``, `name', `name`_
    (re.compile(r"(?<![\w*])\*{1,2}(?=[^\s*])([^*]+?)(?<=\S)\*{1,2}(?![\w*])"), r"\1"),  # *emphasis*, **strong**
    (re.compile(r"\[\d+\]_|\|(\w+)\|"), r"\1"),  # [1]_, |name|
    (re.compile(r"[(<]*https?://[^\s<>()]+[>)]*"), ""),
    (re.compile(r":(?:param|parameter|arg|raises?|returns?|type|rtype)\b\s*([\w ]*):"), r"\1:"),  # :param name:
    (re.compile(r":{2,}(?=\s*$)"), ":"),
    (re.compile(r"\s+"), " "),
]
_UNDERLINE = re.compile(r"\s*([=\-*~^#\"'+_.`])\1{2,}[\s=+\-*~]*$")
_BULLET = re.compile(r"^\s*(?:[*+•-]|\(?\d{1,2}[.)]|\(?[a-z]\)|\[\d+\]|o(?= {2}))\s+(?=\S)")
_DIRECTIVE = re.compile(r"\s*(?:\.\. |@\w+|\$\w|#!)")
_GRAMMAR = re.compile(r"::=|\+[-=]{2,}|^\s*\|.*\|\s*$|^\s*[$%]\s|\S\s{3,}\S.*\S\s{3,}\S")
_PROMPT = re.compile(r"\s*(?:>>>|\.\.\.(?=\s\S.*[:(=])|In \[\d+\])")
_SIGNATURE = re.compile(r"^\s*(?:class |def |async |@|\w+ = )?[\w.]+\s?\(.*\)\s*(?:->\s*.+|:)?$")
_WORD = re.compile(r"[A-Za-z]+(?:['’-][A-Za-z]+)*")
_CODE_CHARACTER = re.compile(r"[=(){}\[\]<>_\\|/@#$%^&*~`+;:]|\w\.\w")
_STOP_WORDS = frozenset(
    "a an the this that these it is are was be been being has have had can may will would should must do does not no "
    "of to in on at by for from with as and or but if when while which who whose there then than so into only all "
    "any".split()
)


def paragraphs(text: str) -> list[str]:
    """The prose of a docstring: one string a paragraph or list item, markup removed, white space collapsed.

    Doctests, literal blocks, grammar, tables, signatures and underlines are dropped, and so is whatever has the
    letters, words and punctuation of code.
    """
    text = inspect.cleandoc(text.encode("utf-8", "ignore").decode("utf-8"))
    cleaned = (clean_markup(block) for block in _blocks(text.split("\n")))
    return [paragraph for paragraph in cleaned if reads_as_prose(paragraph)]


def clean_markup(text: str) -> str:
    """Replaces reStructuredText roles, links, quotes and emphasis by their words, and any white space by one space."""
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    return text.strip()


def reads_as_prose(text: str) -> bool:
    """True for at least three words with an English function word (or a short full sentence) and little code."""
    words = _WORD.findall(text)
    if len(words) < 3 or not (text[0].isalnum() or text[0] in "\"'("):
        return False
    common = sum(word.lower() in _STOP_WORDS for word in words)
    letters = sum(map(len, words))
    code = len(_CODE_CHARACTER.findall(text))
    enough = common >= max(1, len(words) // 12) or (len(words) <= 8 and text.endswith("."))
    return enough and letters >= 0.62 * len(text) and code <= 0.06 * len(text)


def _blocks(lines: list[str]) -> list[str]:
    """Runs of lines that belong together, without the lines that are code or layout."""
    blocks: list[list[str]] = [[]]
    literal_indent = -1  # literal text is what stands deeper than this, after a paragraph that ended in '::'
    in_doctest = False
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if not line.strip():
            ends_open = bool(blocks[-1]) and blocks[-1][-1].rstrip().endswith("::")
            literal_indent = _indent(blocks[-1][-1]) if ends_open else literal_indent
            in_doctest = False
            blocks.append([])
            continue
        if literal_indent >= 0 and indent > literal_indent:
            continue
        literal_indent = -1
        in_doctest = in_doctest or bool(_PROMPT.match(line))
        if in_doctest or _is_layout(line) or _is_heading(lines, number):
            blocks.append([])
            continue
        if _BULLET.match(line) or (blocks[-1] and indent < _indent(blocks[-1][0]) - 1):
            blocks.append([])
        blocks[-1].append(_BULLET.sub(" " * (indent + 2), line, count=1) if not blocks[-1] else line)
    return [" ".join(block) for block in blocks if block]


def _is_layout(line: str) -> bool:
    return any(pattern.match(line) for pattern in (_UNDERLINE, _DIRECTIVE, _SIGNATURE)) or bool(_GRAMMAR.search(line))


def _is_heading(lines: list[str], number: int) -> bool:
    return number + 1 < len(lines) and bool(_UNDERLINE.match(lines[number + 1]))


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())

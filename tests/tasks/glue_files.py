"""Every part of every GLUE task as the published tsv files have it: columns, headers, labels."""

from pathlib import Path

MNLI = (
    "index promptID pairID genre sentence1_binary_parse sentence2_binary_parse sentence1_parse sentence2_parse".split()
)
STSB = "index genre filename year old_index source1 source2 sentence1 sentence2".split()
PAIR = ["index", "sentence1", "sentence2"]
LABELS = {
    "CoLA": ("0", "1"),
    "SST-2": ("0", "1"),
    "MRPC": ("0", "1"),
    "QQP": ("0", "1"),
    "WNLI": ("0", "1"),
    "STS-B": ("0.500", "4.75"),
    "QNLI": ("entailment", "not_entailment"),
    "RTE": ("entailment", "not_entailment"),
    "MNLI": ("neutral", "contradiction", "entailment"),
}
COLUMNS = {
    # folder: training columns, columns of the test set
    "CoLA": (["source", "label", "mark", "sentence"], ["index", "sentence"]),
    "SST-2": (["sentence", "label"], ["index", "sentence"]),
    "MRPC": (
        ["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"],
        ["index", "#1 ID", "#2 ID", "#1 String", "#2 String"],
    ),
    "QQP": (["id", "qid1", "qid2", "question1", "question2", "is_duplicate"], ["id", "question1", "question2"]),
    "WNLI": ([*PAIR, "label"], PAIR),
    "STS-B": ([*STSB, "score"], STSB),
    "QNLI": (["index", "question", "sentence", "label"], ["index", "question", "sentence"]),
    "RTE": ([*PAIR, "label"], PAIR),
    "MNLI": ([*MNLI, "sentence1", "sentence2", "label1", "gold_label"], [*MNLI, "sentence1", "sentence2"]),
    "diagnostic": ([], PAIR),
}
LABEL_COLUMNS = ("label", "Quality", "is_duplicate", "score", "gold_label")
NOT_TEXT = ("index", "id", "source", "mark", "genre", "old_index")


def write_glue(root: Path, rows: int = 6) -> Path:
    """GLUE's folder with `rows` examples a part; the texts say which part, column and row they are."""
    for folder, (train, test) in COLUMNS.items():
        middle = ("_matched", "_mismatched") if folder == "MNLI" else ("",)
        if train:
            for part in ("train", *(f"dev{end}" for end in middle)):
                write(root / folder / f"{part}.tsv", folder, part, train, rows, header=folder != "CoLA")
        for part in (f"test{end}" for end in middle) if train else ("diagnostic",):
            write(root / folder / f"{part}.tsv", folder, part, test, rows)
    return root


def write(path: Path, folder: str, part: str, columns: list[str], rows: int, header: bool = True) -> None:
    """One file; labels go round."""
    lines = ["\t".join(columns)] if header else []
    for row in range(rows):
        values = []
        for column in columns:
            if column in LABEL_COLUMNS:
                values.append(LABELS[folder][row % len(LABELS[folder])])
            else:
                values.append(str(row) if column in NOT_TEXT else f'{part} "{column} {row}')
        lines.append("\t".join(values))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")

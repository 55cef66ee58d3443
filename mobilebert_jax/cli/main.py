"""`mobilebert COMMAND ...`: words in, exit codes out."""

import argparse
import os
import sys
from collections.abc import Sequence

from mobilebert_jax.utils.errors import Stopped, UserError

DONE, BAD_INPUT, STOPPED = 0, 2, 42


def entry_point() -> None:
    """The console script."""
    sys.exit(main(sys.argv[1:]))


def main(words: Sequence[str]) -> int:
    """Runs one command; returns 0 done, 2 bad input or config (one line on stderr), 42 stopped with the state saved."""
    overrides = [word.removeprefix("--config.") for word in words if word.startswith("--config.")]
    rest = [word for word in words if not word.startswith("--config.")]
    try:
        options = _parser().parse_args(rest)
        options.overrides = overrides
        # Libraries that read the environment once are told before they are imported.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
        from mobilebert_jax.cli import commands

        getattr(commands, options.command)(options)
    except Stopped as stop:
        print(f"mobilebert: stopped: {stop}; start the same command again to continue", file=sys.stderr)
        return STOPPED
    except UserError as error:
        print(f"mobilebert: {error}", file=sys.stderr)
        return BAD_INPUT
    return DONE


class _Parser(argparse.ArgumentParser):
    """argparse whose errors are ours: one line, exit code 2."""

    def error(self, message: str):
        raise UserError(f"{message}; see mobilebert --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="mobilebert", description="MobileBERT: teacher, knowledge transfer, distillation, answers.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in (
        ("run", "every phase of the config in turn; started again, it continues"),
        ("prepare", "text -> tokenizer + token store"),
        ("pretrain", "the teacher phase alone"),
        ("distill", "the transfer and distill phases alone"),
    ):
        command = commands.add_parser(name, help=text)
        _run_options(command)
    finetune = commands.add_parser("finetune", help="question answering on a model folder")
    _run_options(finetune)
    finetune.add_argument("--model", required=True, help="the pretrained model folder")
    finetune.add_argument("--task", default="squad2", choices=["squad1", "squad2"])
    finetune.add_argument("--dataset", default="", help="SQuAD json to train on (default: the config's questions)")
    evaluate = commands.add_parser("evaluate", help="score a model folder, or a file of predictions")
    evaluate.add_argument("--model", default="", help="a model folder with a span head")
    evaluate.add_argument("--task", default="squad2", choices=["squad1", "squad2"])
    evaluate.add_argument("--dataset", required=True, help="SQuAD json, or builtin:python-docs-qa")
    evaluate.add_argument("--predictions", default="", help="predictions.json to score instead of a model")
    evaluate.add_argument("--output", default="", help="folder for predictions.json, nbest_predictions.json, ...")
    evaluate.add_argument("--batch_size", type=int, default=32)
    evaluate.add_argument("--json", action="store_true", help="exactly one JSON object on stdout")
    answer = commands.add_parser("answer", help="candidates for a question, with scores and offsets")
    answer.add_argument("question")
    answer.add_argument("--model", required=True, help="a model folder with a span head")
    answer.add_argument("--passage", required=True, help="a UTF-8 text file")
    answer.add_argument("--top_k", type=int, default=5)
    answer.add_argument("--json", action="store_true", help="exactly one JSON object on stdout")
    bench = commands.add_parser("bench", help="measurements, side by side")
    bench.add_argument("what", choices=["transfer"])
    bench.add_argument("--config", default="", help="models to measure (default: the paper's, in float32)")
    bench.add_argument("--batch_size", type=int, default=2)
    bench.add_argument("--sequence_length", type=int, default=128)
    bench.add_argument("--repeats", type=int, default=5)
    bench.add_argument("--json", action="store_true", help="exactly one JSON object on stdout")
    return parser


def _run_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", default="configs/demo.py", metavar="FILE[:ARG,...]")
    command.add_argument("--workdir", default="", help="the run's folder (default: runs/ and the config's name)")
    command.add_argument("--max_minutes", type=float, default=0.0, help="save and exit 42 after so many minutes")

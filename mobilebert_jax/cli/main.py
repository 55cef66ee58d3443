"""`mobilebert COMMAND ...`: words in, exit codes out."""

import argparse
import logging
import math
import os
import sys
import threading
import warnings
from collections.abc import Sequence

from mobilebert_jax.cli.bench import add_bench_options
from mobilebert_jax.cli.plan import add_plan_options
from mobilebert_jax.cli.quantize import add_quantize_options
from mobilebert_jax.cli.serve import add_serve_options
from mobilebert_jax.cli.weights import add_export_options, add_import_options
from mobilebert_jax.training.stopping import Stopper, given_up
from mobilebert_jax.utils.allocator import accelerator_files, keep_freed_memory
from mobilebert_jax.utils.errors import SharedError, Stopped, UserError
from mobilebert_jax.utils.faults import machine_fault

DONE, BAD_INPUT, STOPPED, INTERRUPTED = 0, 2, 42, 130

WITH_STEPS = ("run", "pretrain", "distill", "finetune", "bench")
"""Commands whose programs run often enough that memory given back would soon be asked for again."""

WITH_CONFIG = ("run", "prepare", "pretrain", "distill", "finetune", "bench", "plan")

TASKS = "squad1 squad2 cola sst2 mrpc stsb qqp mnli qnli rte wnli ax classification regression tokens".split()
"""SQuAD, GLUE, your own labels; a test compares them with those that the recipes know."""

PRECISIONS = ("float32", "bfloat16", "int8")
"""A test compares them with those that `quantization` knows."""

FUNCTIONS = {"import": "import_weights", "export": "export_weights"}
"""Commands whose function in `commands` has another name."""


def entry_point() -> None:
    """The console script."""
    if sys.argv[1:2] and sys.argv[1] in WITH_STEPS and not accelerator_files():
        keep_freed_memory()
    code = main(sys.argv[1:])
    if given_up() or (code == BAD_INPUT and _others_go_on()):
        # A compilation that was left behind would crash in an orderly exit, and Orbax's threads would for minutes
        # wait there for a save that has failed.
        from mobilebert_jax.parallel.processes import leave

        leave()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def main(words: Sequence[str]) -> int:
    """Runs one command; returns 0 done, 2 bad input or config (one line on stderr), 42 stopped with the state saved."""
    try:
        options = parse(words)
        if hasattr(options, "max_minutes"):
            # Before the seconds that importing JAX takes, in which a signal would otherwise kill.
            options.stopper = _stopper(options.max_minutes)
        with warnings.catch_warnings():
            _quiet_libraries()
            # Only now, so that --help and a mistyped option do not wait for JAX.
            from mobilebert_jax.cli import commands

            name = "print_config" if getattr(options, "print_config", False) else options.command
            getattr(commands, FUNCTIONS.get(name, name))(options)
            sys.stdout.flush()
    except SystemExit as request:  # argparse has printed its help
        return int(request.code or DONE)
    except Stopped as stop:
        if _speaks():
            print(f"mobilebert: stopped: {stop}; start the same command again to continue", file=sys.stderr)
        return STOPPED
    except UserError as error:
        if _speaks() or not isinstance(error, SharedError):
            print(f"mobilebert: {' '.join(str(error).split())}", file=sys.stderr)
        return BAD_INPUT
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        fault = _file_fault(error)
        if fault is None:
            raise
        print(f"mobilebert: {fault}", file=sys.stderr)
        return BAD_INPUT
    return DONE


def _others_go_on() -> bool:
    """Whether a library's threads would keep this process from ending."""
    return any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread())


def _speaks() -> bool:
    """Whether what all processes of a run know is this one's to say."""
    if "jax" not in sys.modules:  # refused before anything could join others
        return True
    from mobilebert_jax.parallel.processes import is_first

    return is_first()


def _file_fault(error: Exception) -> str | None:
    """One line for a file or disk that refuses, whatever a library has wrapped it in; None for a mistake of ours."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return machine_fault(error)


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The command's options; `overrides` are the `a.b=value` of every `--config.a.b=value`.

    Raises:
        UserError: an unknown command or option, or a value of the wrong type.
    """
    overrides = [word.removeprefix("--config.") for word in words if word.startswith("--config.")]
    for override in overrides:
        if "=" not in override:
            raise UserError(f"--config.{override}: write --config.{override}=value, in one word")
    options = _parser().parse_args([word for word in words if not word.startswith("--config.")])
    if overrides and options.command not in WITH_CONFIG:
        raise UserError(f"--config.{overrides[0]}: `mobilebert {options.command}` has no config; see mobilebert --help")
    options.overrides = overrides
    return options


def _stopper(max_minutes: float) -> Stopper:
    if not 0 <= max_minutes < math.inf:
        raise UserError(f"--max_minutes={max_minutes}: a number of minutes is needed, 0 for no limit")
    stopper = Stopper(max_minutes)
    stopper.install()
    return stopper


def _quiet_libraries() -> None:
    """Leaves stderr to progress, our own warnings (one line each) and what libraries raise."""
    # Libraries that read the environment once are told before they are imported.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA's C++ side: errors only
    # Orbax remarks on every save and restore, and logs with a traceback, part by part, what it raises as well; so do
    # gcsfs and Google's login.
    for name in ("absl", "asyncio", "gcsfs", "google"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # remarks on its font cache
    for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
        warnings.simplefilter("ignore", category)
    warnings.showwarning = lambda message, *where: print(f"mobilebert: warning: {message}", file=sys.stderr)


class _Parser(argparse.ArgumentParser):
    """argparse whose errors are ours: one line, exit code 2; and which takes no abbreviations."""

    def __init__(self, **settings):
        super().__init__(**{"allow_abbrev": False, **settings})

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
        command = commands.add_parser(name, help=text, description=text)
        _run_options(command, trains=name != "prepare")
        if name == "prepare":
            _prepare_options(command)
    _finetune_options(commands.add_parser("finetune", help="a task on a model folder: SQuAD, GLUE, your own"))
    _evaluate_options(commands.add_parser("evaluate", help="score a model folder, or a file of predictions"))
    _answer_options(commands.add_parser("answer", help="candidates for a question, with scores and offsets"))
    _inspect_options(
        commands.add_parser("inspect", help="what a checkpoint, store, model or run holds, or how two differ")
    )
    report = commands.add_parser("report", help="WORKDIR/report.html: what happened in a run, at any moment")
    report.add_argument("workdir", metavar="WORKDIR", help="the run's folder, or gs://bucket/run")
    add_import_options(commands.add_parser("import", help="weights of transformers or TensorFlow 1 -> a model folder"))
    add_export_options(commands.add_parser("export", help="a model folder -> one for another runtime"))
    add_serve_options(commands.add_parser("serve", help="a page that answers questions, the model in the browser"))
    quantize = commands.add_parser("quantize", help="a model folder with the recipe of its int8")
    add_quantize_options(quantize)
    _task_option(quantize, default="")
    _column_options(quantize)
    text = "memory, work and time of every phase's step on TPUs that need not be there"
    add_plan_options(commands.add_parser("plan", help=text, description=text))
    add_bench_options(commands.add_parser("bench", help="measurements, side by side"))
    return parser


def _run_options(command: argparse.ArgumentParser, trains: bool = True, config: str = "configs/demo.py") -> None:
    text = (
        "default: %(default)s"
        if config
        else "default: the task's preset in configs/squad.py or glue.py; of builtin questions configs/demo.py"
    )
    command.add_argument("--config", default=config, metavar="FILE[:ARG,...]", help=text)
    text = "the run's folder, or gs://bucket/run (default: runs/ and the config's name)"
    command.add_argument("--workdir", default="", help=text)
    command.add_argument("--max_minutes", type=float, default=0.0, help="save and exit 42 after so many minutes")
    if trains:
        _training_options(command)
    command.add_argument("--print_config", action="store_true", help="print every setting and its value, do nothing")
    command.epilog = "--config.a.b=value changes one setting of the config, as often as needed"


def _training_options(command: argparse.ArgumentParser) -> None:
    """Processes find each other on Cloud TPU, GKE and SLURM; elsewhere each is given the first three."""
    command.add_argument("--coordinator", default="", metavar="HOST:PORT", help="where process 0 can be reached")
    command.add_argument("--num_processes", type=int, default=0, help="of this run, each with devices of its own")
    command.add_argument("--process_id", type=int, default=-1, help="this one's number, from 0")
    text = "seconds that processes wait for each other (default: %(default)s)"
    command.add_argument("--coordinator_timeout", type=int, default=300, help=text)
    text = "record so many steps of every phase, or PHASE:FIRST-LAST, in <phase>/profile"
    command.add_argument("--profile", default="", metavar="STEPS", help=text)


def _prepare_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--errors", default="", choices=["strict", "replace"], help="bytes that are not UTF-8")
    command.add_argument("--workers", type=int, default=None, metavar="N", help="processes (default: one a core)")
    command.add_argument(
        "--shard", default="0/1", metavar="I/N", help="every N-th shard from number I on, of N machines"
    )
    command.add_argument(
        "--dry_run", action="store_true", help="disk and time it will need, from a sample; write nothing"
    )


def _finetune_options(command: argparse.ArgumentParser) -> None:
    _run_options(command, config="")
    command.add_argument("--model", required=True, help="the pretrained model folder, with its tokenizer")
    _task_option(command)
    text = (
        "SQuAD json, builtin:python-docs-qa; GLUE's folder; your own .tsv, .jsonl, CoNLL files; hf:, tfds: "
        "(default: the config's)"
    )
    command.add_argument("--dataset", default="", help=text)
    command.add_argument("--seeds", type=int, default=1, metavar="N", help="so many runs with seeds of their own")
    text = "a run a point, such as 'batch_size=16,32;learning_rate=1e-5,5e-5;epochs=3', or paper: its whole grid"
    command.add_argument("--sweep", default="", metavar="GRID", help=text)
    text = "of SQuAD and your own labels: what decides (default: a tenth; of a data set its split validation)"
    command.add_argument("--dev", default="", help=text)
    text = "questions whose answer is not where its offset says: drop (default) and count, or refuse"
    command.add_argument("--bad_answers", default="", choices=["drop", "refuse"], help=text)
    _column_options(command)


def _evaluate_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", default="", help="a fine-tuned model folder, or an exported one")
    command.add_argument("--predictions", default="", help="predictions.json of SQuAD to score instead of a model")
    text = "SQuAD json, builtin:python-docs-qa, GLUE's folder, your own .tsv, .jsonl or CoNLL file, hf:, tfds:"
    command.add_argument("--dataset", default="", help=text)
    _task_option(command, more=("glue",))
    command.add_argument("--runs", default="", metavar="FOLDERS", help="of --task=glue: finished runs, 'runs/*'")
    command.add_argument("--part", default="", help="of GLUE: dev, test, ... (default: the parts with labels)")
    command.add_argument("--output", default="", help="folder for predictions, and for what GLUE's leaderboard takes")
    command.add_argument("--batch_size", type=int, default=32, help="default: %(default)s")
    text = "what the model computes with (default: %(default)s); int8: see quantize"
    command.add_argument("--precision", default="float32", choices=PRECISIONS, help=text)
    text = "of labelled texts (default: 128), of windows over passages (384), or what the model has"
    command.add_argument("--sequence_length", type=int, default=0, help=text)
    text = "of windows over passages, in tokens from one's start to the next one's (default: 128, or a third of one)"
    command.add_argument("--doc_stride", type=int, default=0, help=text)
    _column_options(command)
    _json_option(command)


def _task_option(command: argparse.ArgumentParser, more: tuple[str, ...] = (), default: str = "squad2") -> None:
    text = f"default: {default or 'none'}; classification, regression and tokens (a tag a word) are your own labels"
    command.add_argument("--task", default=default, choices=[*TASKS, *more], help=text)


def _column_options(command: argparse.ArgumentParser) -> None:
    """Where labelled texts stand."""
    command.add_argument("--text", default="", metavar="COLUMN", help="of the text (default: text; tokens)")
    command.add_argument("--text_pair", default="", metavar="COLUMN", help="of the second text (default: none)")
    command.add_argument("--label", default="", metavar="COLUMN", help="default: label; tags")
    text = "lines of a .tsv with a wrong number of columns: refuse (default), or drop and count"
    command.add_argument("--bad_rows", default="", choices=["refuse", "drop"], help=text)


def _answer_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("question")
    command.add_argument("--model", required=True, help="a model folder with a span head")
    command.add_argument("--passage", required=True, help="a UTF-8 text file")
    command.add_argument("--top_k", type=int, default=5, help="how many candidates (default: %(default)s)")
    _json_option(command)


def _inspect_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("path", help="a run's folder, <phase>/checkpoints or a step of it, data, a model folder")
    command.add_argument("other", nargs="?", default="", help="another one of the same kind: what differs")
    command.add_argument("--ranges", default="", metavar="FILE", help="a model's activation ranges on this text file")
    command.add_argument("--sequence_length", type=int, default=128, help="of --ranges (default: %(default)s)")
    _json_option(command)


def _json_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="exactly one JSON object on stdout")

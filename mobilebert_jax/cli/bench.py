"""`mobilebert bench WHAT`: its options, and one function a kind of measurement."""

import argparse
from typing import Any

from mobilebert_jax.utils.addresses import is_address
from mobilebert_jax.utils.errors import UserError


def _json_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="exactly one JSON object on stdout")


def add_bench_options(command: argparse.ArgumentParser) -> None:
    """The kinds of `bench` and their options."""
    kinds = command.add_subparsers(dest="what", required=True, metavar="WHAT")
    text = "a transfer stage against what it replaces, and that both make the same step"
    transfer = kinds.add_parser("transfer", help=text, description=text)
    transfer.add_argument("--config", default="", help="models to measure (default: the paper's, in float32)")
    transfer.add_argument("--batch_size", type=int, default=2, help="default: %(default)s")
    transfer.add_argument("--sequence_length", type=int, default=128, help="default: %(default)s")
    transfer.add_argument("--ways", default="", help="ours, reference and which others, comma-separated (default: all)")
    text = "a fine-tuning step against the loop that people write with transformers and PyTorch"
    tuning = kinds.add_parser("finetune", help=text, description=text)
    tuning.add_argument("--config", default="", help="whose student to measure (default: the paper's, in float32)")
    tuning.add_argument("--batch_size", type=int, default=8, help="default: %(default)s")
    tuning.add_argument("--sequence_length", type=int, default=384, help="default: %(default)s")
    text = "in place of that: what length batches save on a task, with its config"
    tuning.add_argument("--task", default="", help=text)
    tuning.add_argument("--dataset", default="", help="of --task: SQuAD json, GLUE's folder, .tsv, .jsonl, hf:, tfds:")
    text = "of questions: also the loop that people write with transformers and PyTorch, padded as they pad"
    tuning.add_argument("--peer", action="store_true", help=text)
    text = "what logging, evaluation and saving add to the steps of a config's phases"
    step = kinds.add_parser("step", help=text, description=text)
    step.add_argument("--config", default="configs/demo.py", metavar="FILE[:ARG,...]", help="default: %(default)s")
    text = "text to tokens, tokens to examples, examples to the loop, beside what bounds them"
    data = kinds.add_parser("data", help=text, description=text)
    data.add_argument("--config", default="configs/demo.py", metavar="FILE[:ARG,...]", help="default: %(default)s")
    text = "how long the loop stands still for a checkpoint, beside a plain copy and a save that is waited for"
    save = kinds.add_parser("save", help=text, description=text)
    save.add_argument("--config", default="configs/demo.py", metavar="FILE[:ARG,...]", help="default: %(default)s")
    save.add_argument("--networks", default="", help="teacher, student, comma-separated (default: both)")
    save.add_argument("--saves", type=int, default=5, help="default: %(default)s")
    _json_option(save)
    text = "seconds and memory of loading a model folder, each time in a fresh process"
    load = kinds.add_parser("load", help=text, description=text)
    load.add_argument("--model", default="", metavar="DIR", help="default: MobileBERT with random weights")
    load.set_defaults(config="")
    text = "size, latency and memory of exported files, beside the encoders that people would take instead"
    device = kinds.add_parser("device", help=text, description=text)
    device.add_argument("--models", default="", metavar="NAMES", help="mobilebert,bert_base,... (default: all)")
    device.add_argument("--runtimes", default="litert,onnx", metavar="NAMES", help="default: %(default)s")
    device.add_argument("--precision", default="float32,int8", metavar="NAMES", help="default: %(default)s")
    device.add_argument("--lengths", default="128,384", metavar="N,...", help="default: %(default)s")
    device.add_argument("--threads", default="1,2", metavar="N,...", help="default: %(default)s")
    text = "where device.json, its tables (device.md) and its plot (device.svg) go (default: %(default)s)"
    device.add_argument("--output", default="runs/device", metavar="DIR", help=text)
    device.set_defaults(config="")
    text = "what int8 costs on a task by every method, in JAX and in the files that ship"
    _quantization_options(kinds.add_parser("quantization", help=text, description=text))
    for kind in (transfer, tuning, step, data, load, device):
        kind.add_argument("--repeats", type=int, default=5, help="default: %(default)s")
        _json_option(kind)
    text = "students with and without each kind of transfer, at equal steps and at equal time"
    _strategies_options(kinds.add_parser("strategies", help=text, description=text))
    text = "what each way of transfer reaches in how much time, block by block, and after distillation"
    _quality_options(kinds.add_parser("quality", help=text, description=text))


def _quantization_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", required=True, metavar="DIR", help="a fine-tuned model folder")
    command.add_argument("--task", required=True, help="squad2, sst2, ..., classification, regression, tokens")
    command.add_argument("--dataset", required=True, help="as of evaluate: what is scored")
    text = "training examples of the task (default: those of the dataset)"
    command.add_argument("--calibration", default="", metavar="FILE", help=text)
    text = "folders fine-tuned with finetune.quantize, comma-separated"
    command.add_argument("--qat", default="", metavar="DIR,...", help=text)
    command.add_argument("--methods", default="", metavar="NAMES", help="dynamic,weight_only,static (default: all)")
    command.add_argument("--runtimes", default="", metavar="NAMES", help="jax,onnx,litert (default: all)")
    command.add_argument("--examples", type=int, default=0, metavar="N", help="to score (default: all)")
    command.set_defaults(config="")
    _json_option(command)


def _strategies_options(command: argparse.ArgumentParser) -> None:
    _students_options(command, "runs/strategies")
    text = "alone, pd, akt, jkt, local, local_joint, pkt, pkt_soft, pkt_hidden; comma-separated (default: all)"
    command.add_argument("--strategies", default="", metavar="NAMES", help=text)
    command.add_argument("--equal", default="", metavar="NAMES", help="steps,time,teacher (default: all)")


def _quality_options(command: argparse.ArgumentParser) -> None:
    _students_options(command, "runs/quality")
    text = "pkt, pkt_soft, pkt_falling, jkt, jkt_falling, local, local_constant, local_wave, local_joint, local_4, "
    text += "local_fed, local_fed_joint, fed; comma-separated (default: all)"
    command.add_argument("--ways", default="", metavar="NAMES", help=text)
    text = "transfer's share of pkt's time, or steps: every block has as many updates as in pkt (default: %(default)s)"
    command.add_argument("--budgets", default="steps,1", metavar="SHARE,...", help=text)
    text = "of the distillation that follows: steps, or time together with transfer (default: both)"
    command.add_argument("--equal", default="", metavar="NAMES", help=text)


def _students_options(command: argparse.ArgumentParser, workdir: str) -> None:
    """The options of what trains several students."""
    command.add_argument("--config", default="configs/demo.py", metavar="FILE[:ARG,...]", help="default: %(default)s")
    command.add_argument("--workdir", default=workdir, help="of all runs (default: %(default)s)")
    command.add_argument("--seeds", type=int, default=3, help="students of each kind (default: %(default)s)")
    text = "so many, but the first seed's, learn side by side on one walk of the teacher (default: all; 1: one by one)"
    command.add_argument("--together", type=int, default=0, metavar="N", help=text)
    command.add_argument("--dataset", default="", metavar="FILES", help="more SQuAD files to score on, comma-separated")
    command.add_argument("--max_minutes", type=float, default=0.0, help="save and exit 42 after so many minutes")
    _json_option(command)


def bench(options: argparse.Namespace) -> None:
    """The table of `bench WHAT`."""
    if options.overrides and not options.config and not getattr(options, "task", ""):
        raise UserError("bench: settings (--config.a.b=value) need the config that they change, --config=FILE")
    for name in ("batch_size", "sequence_length", "repeats", "saves"):
        if getattr(options, name, 1) < 1:
            raise UserError(f"--{name}={getattr(options, name)}: must be at least 1")
    kinds = {"transfer": _bench_transfer, "step": _bench_step, "data": _bench_data, "load": _bench_load}
    kinds |= {"finetune": _bench_finetune, "save": _bench_save, "strategies": _bench_strategies}
    kinds |= {"device": _bench_device, "quality": _bench_quality, "quantization": _bench_quantization}
    kinds[options.what](options)


def _print_json(report: Any) -> None:
    from mobilebert_jax.cli.tables import print_json

    print_json(report)


def _config(options: argparse.Namespace) -> Any:
    """The config that was asked for; None where the measurement has its own."""
    from mobilebert_jax.cli.flags import load_config

    return load_config(options.config, options.overrides) if options.config else None


def _bench_transfer(options: argparse.Namespace) -> None:
    from mobilebert_jax.bench.transfer import WAYS, bench_transfer, print_head, print_stage, print_sums

    config = _config(options)
    sizes = options.batch_size, options.sequence_length, options.repeats
    ways = tuple(filter(None, options.ways.split(","))) or WAYS
    if options.json:
        return _print_json(bench_transfer(config, *sizes, ways))

    def show(row: dict[str, Any]) -> None:
        if row["stage"] == 0:
            print_head(*sizes, ways)
        print_stage(row)

    print_sums(bench_transfer(config, *sizes, ways, show=show))


def _bench_step(options: argparse.Namespace) -> None:
    from mobilebert_jax.bench.step import bench_step, print_head, print_row, print_together

    config = _config(options)
    if options.json:
        return _print_json(bench_step(config, options.repeats))
    print_head(options.repeats)
    print_together(bench_step(config, options.repeats, show=print_row))


def _bench_finetune(options: argparse.Namespace) -> None:
    from mobilebert_jax.bench.finetune import bench_finetune, print_finetune

    if options.task:
        return _bench_buckets(options)
    if options.peer:
        raise UserError("--peer: without --task=squad1 or squad2 the loop of transformers is measured anyway")
    config = _config(options)
    report = bench_finetune(config, options.batch_size, options.sequence_length, options.repeats)
    _print_json(report) if options.json else print_finetune(report)


def _bench_buckets(options: argparse.Namespace) -> None:
    from mobilebert_jax.bench.buckets import bench_buckets, print_buckets
    from mobilebert_jax.bench.loops import bench_loops, print_loops
    from mobilebert_jax.recipes.questions import THRESHOLDS

    questions = options.task in THRESHOLDS
    options.config = options.config or f"configs/{'squad' if questions else 'glue'}.py:{options.task}"
    options.overrides = [*options.overrides, f"finetune.{'questions' if questions else 'dataset'}={options.dataset}"]
    measure, show = (bench_loops, print_loops) if options.peer else (bench_buckets, print_buckets)
    report = measure(_config(options), options.task, options.repeats)
    _print_json(report) if options.json else show(report)


def _bench_strategies(options: argparse.Namespace) -> None:
    from mobilebert_jax.bench.strategies import bench_strategies, print_means, print_row

    names, equal, files = _lists(options, "strategies", "equal", "dataset")
    given = *_of_students(options), names, options.seeds, equal, files, options.together
    if options.json:
        return _print_json(bench_strategies(*given))
    print_means(bench_strategies(*given, show=print_row))


def _bench_quality(options: argparse.Namespace) -> None:
    from mobilebert_jax.bench.quality import bench_quality, print_means, print_row

    names, budgets, equal, files = _lists(options, "ways", "budgets", "equal", "dataset")
    given = *_of_students(options), names, options.seeds, budgets, equal, files, options.together
    if options.json:
        return _print_json(bench_quality(*given))
    print_means(bench_quality(*given, show=print_row))


def _of_students(options: argparse.Namespace) -> tuple[Any, ...]:
    """Config, folder and stopper of what trains several students."""
    if is_address(options.workdir):
        raise UserError(f"--workdir={options.workdir}: bench {options.what} works in a folder of this machine")
    return _config(options), options.workdir, options.stopper


def _lists(options: argparse.Namespace, *names: str) -> tuple[tuple[str, ...], ...]:
    """Comma-separated options."""
    return tuple(tuple(filter(None, getattr(options, name).split(","))) for name in names)


def _bench_device(options: argparse.Namespace) -> None:
    from mobilebert_jax.bench.device import bench_device, print_networks, print_rows, write_report

    names, runtimes, precisions, lengths, threads = (
        tuple(filter(None, getattr(options, name).split(",")))
        for name in ("models", "runtimes", "precision", "lengths", "threads")
    )
    for option, words in (("lengths", lengths), ("threads", threads)):
        for word in words:
            if not word.isdecimal() or int(word) < 1:
                raise UserError(f"--{option}={word}: whole numbers are needed")
    numbers = tuple(map(int, lengths)), tuple(map(int, threads))
    if is_address(options.output):
        raise UserError(f"--output={options.output}: bench device writes into a folder of this machine")
    given = names, runtimes, precisions, *numbers, options.repeats
    report = bench_device(*given) if options.json else bench_device(*given, show=print_rows)
    write_report(report, options.output)
    if options.json:
        return _print_json(report)
    print_networks(report)
    print(f"finished: {options.output}")


def _bench_quantization(options: argparse.Namespace) -> None:
    from mobilebert_jax.bench.quantization import bench_quantization, print_head, print_row
    from mobilebert_jax.recipes.exam import Asked
    from mobilebert_jax.recipes.labels import LABEL_TASKS
    from mobilebert_jax.recipes.questions import THRESHOLDS

    if options.task not in (*THRESHOLDS, *LABEL_TASKS):
        raise UserError(f"--task={options.task}: must be one of {', '.join((*THRESHOLDS, *LABEL_TASKS))}")
    if options.examples < 0:
        raise UserError(f"--examples={options.examples}: must be at least 1")
    asked = Asked(options.task, options.dataset, options.examples)
    qat, methods, runtimes = (
        tuple(filter(None, getattr(options, name).split(","))) for name in ("qat", "methods", "runtimes")
    )
    given = options.model, asked, options.calibration, qat, methods, runtimes
    if options.json:
        return _print_json(bench_quantization(*given))
    print_head(options.task)
    bench_quantization(*given, show=print_row)


def _bench_data(options: argparse.Namespace) -> None:
    from mobilebert_jax.bench.data import bench_data, print_row

    config = _config(options)
    if options.json:
        return _print_json(bench_data(config, options.repeats))
    bench_data(config, options.repeats, show=print_row)


def _bench_save(options: argparse.Namespace) -> None:
    from mobilebert_jax.bench.save import PHASE_OF, bench_save, print_head, print_row

    config = _config(options)
    networks = tuple(filter(None, options.networks.split(","))) or tuple(PHASE_OF)
    if options.json:
        return _print_json(bench_save(config, options.saves, networks))
    print_head(options.saves)
    bench_save(config, options.saves, networks, show=print_row)


def _bench_load(options: argparse.Namespace) -> None:
    """Seconds and memory of loading a model."""
    from mobilebert_jax.bench.load import bench_load, print_load

    report = bench_load(options.model, options.repeats)
    _print_json(report) if options.json else print_load(report)

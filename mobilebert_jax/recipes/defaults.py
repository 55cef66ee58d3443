"""Every knob of a run and its default: the paper's. Config files start here and change what they mean to change.

Leaves are never None and never lists (neither can be overridden from the command line). Strings that are paths may be
empty, which switches them off.
"""

from ml_collections import ConfigDict

from mobilebert_jax.models.config import ModelConfig

# (batch, learning rate, epochs) out of the paper's grid (section 4.4); larger sets need fewer epochs.
GLUE_PRESETS = {
    "cola": (32, 5e-5, 10.0),
    "sst2": (32, 3e-5, 5.0),
    "mrpc": (16, 5e-5, 10.0),
    "stsb": (16, 5e-5, 10.0),
    "qqp": (48, 5e-5, 5.0),
    "mnli": (48, 5e-5, 5.0),
    "qnli": (32, 5e-5, 5.0),
    "rte": (16, 5e-5, 10.0),
    "wnli": (16, 1e-5, 2.0),
}


def default_config() -> ConfigDict:
    """The paper's recipe: IB-BERT_LARGE 500k steps, 24 transfer stages of 10k, distillation 500k, SQuAD 2.0."""
    config = ConfigDict()
    config.seed = 0
    config.model = {
        "teacher": model_fields(ModelConfig.ib_bert_large(zero_pad_embeddings=True, dtype="bfloat16")),
        "student": model_fields(ModelConfig.mobilebert(zero_pad_embeddings=True, dtype="bfloat16")),
    }
    config.data = {
        # builtin:python-docs, text files (.txt, .jsonl; .gz, .xz, .zst), hf:NAME,CONFIG#field, tfds:NAME:VERSION#field,
        # or a mixture with shares of the text: 0.8*hf:...+0.2*text:...
        "corpus": "",
        "store": "",  # in place of a corpus: a finished data folder elsewhere, also gs://bucket/run/data
        "streaming": False,  # of data sets on the hub: read over the network each time, not kept on disk
        "drop_duplicates": False,  # leave out documents that are exactly like one before; 8 bytes of memory each
        "min_characters": 0,  # leave out shorter documents
        "max_documents": 0,  # end the corpus there; 0: never
        "errors": "strict",  # text that is not UTF-8 is refused, or "replace": U+FFFD in the place of such bytes
        "sentences": "rules",  # English, or sentencex:LANGUAGE such as sentencex:de
        "tokenizer": "train",  # or a vocab.txt, a tokenizer.json, a SentencePiece .model, a model folder
        # Of a tokenizer trained here; a given one brings its own.
        "tokenizer_kind": "wordpiece",  # or SentencePiece's: unigram, bpe
        "tokenizer_sample": 0,  # characters of the text that it is trained on; 0: all
        "tokenizer_coverage": 0.9995,  # share of the characters that SentencePiece gives pieces of their own
        "vocab_size": 30522,
        "lowercase": True,
        "heldout_fraction": 0.01,  # of the documents, for evaluation
        "shard_bytes": 64_000_000,  # of text in each shard of the token store
        "workers": 0,  # processes that tokenize; 0: one a core
        "mask_probability": 0.15,
        "whole_word": False,
        "short_sequence_probability": 0.1,
        # Rows filled with pieces of several documents instead of one pair of segments; needs next_sentence=0 in the
        # teacher and distill phases.
        "packing": False,
    }
    config.mesh = {
        "preset": "dp",  # how parameters are split: dp, fsdp, tensor or fsdp_tensor
        "teacher_preset": "",  # of the teacher that a student learns from; empty: the same
        "replica": 1,  # devices along each axis: slices, which talk over the data centre's network
        "data": -1,  # -1: all devices that the others leave
        "fsdp": 1,
        "tensor": 1,
        "replicate_below": 16_384,  # parameters of fewer elements in a layer are not split
    }
    config.teacher = _pretraining_phase(steps=500_000, batch_size=4096, sequence_length=128)
    config.teacher.path = ""  # an existing teacher's model folder: the phase is skipped
    config.teacher.start = ""  # a model folder to go on from, fresh blocks above its own; empty: all fresh
    config.transfer = _pretraining_phase(steps=240_000, batch_size=2048, sequence_length=512)
    config.transfer.update(_transfer_settings())
    config.distill = _pretraining_phase(steps=500_000, batch_size=2048, sequence_length=512)
    config.distill.ground_truth_ratio = 0.5  # alpha of the paper: the rest follows the teacher's logits
    config.finetune = _phase(steps=20_000, batch_size=32, sequence_length=384)
    config.finetune.optimizer.update({"name": "adamw", "learning_rate": 4e-5, "warmup_steps": 2000})
    config.finetune.update(_finetune_settings())
    config.glue = {
        "dataset": "",  # GLUE's folder of tsv files, hf: or tfds:; `run` then makes a model of each task, too
        "tasks": tuple(GLUE_PRESETS),
        "sequence_length": 128,
        **GLUE_PRESETS,
    }
    return config


def _phase(steps: int, batch_size: int, sequence_length: int) -> ConfigDict:
    """What every phase has."""
    return ConfigDict(
        {
            "steps": steps,
            "batch_size": batch_size,
            "accumulation": 1,  # microbatches a step
            "sequence_length": sequence_length,
            "log_every": 100,
            "evaluate_every": 10_000,
            "evaluate_batches": 16,
            "save_every": 2_500,
            "keep_checkpoints": 2,
            "nonfinite_skips": 0,  # so many steps whose loss or gradients are not finite are skipped; one more stops
            "optimizer": {
                "name": "lamb",
                "learning_rate": 1.5e-3,
                "warmup_steps": 10_000,
                "end_ratio": 1e-4,  # the last step's rate over the peak
                "weight_decay": 0.01,
                "b1": 0.9,
                "b2": 0.999,
                "eps": 1e-6,
                "bias_correction": False,
                "clip_norm": 1.0,
            },
        }
    )


def _pretraining_phase(steps: int, batch_size: int, sequence_length: int) -> ConfigDict:
    """A phase on masked sentence pairs."""
    phase = _phase(steps, batch_size, sequence_length)
    phase.max_predictions = 20
    phase.next_sentence = 1.0  # factor of the next-sentence loss
    return phase


LOCAL_OFF = {
    "updates": 1,  # from each batch, one after another; the teacher, most of a step, walks once for all of them
    "joint_share": 0.0,  # of the steps, at the end, in which the blocks learn jointly
    "teacher_fed": (0.0, 0.0),  # share of the blocks that the teacher feeds, at the first and the last local step
    # Shares of the local steps, one for each block, or the first and the last block's with a straight line between:
    "block_starts": (),  # after which it begins to learn; empty: all at once
    "block_stops": (),  # after which it has settled and stays; empty: none before the end
}
"""What local transfer has besides, all of it off, as other strategies leave it."""


def _transfer_settings() -> dict:
    """Progressive transfer with hard freezing; the numbers are the published command's."""
    return {
        # Or local (all blocks at once, each from its own loss alone), joint (all at once, from every loss above them),
        # auxiliary (inside distillation), none.
        "strategy": "progressive",
        "hidden": 100.0,  # factors of the four losses, each divided by the number of blocks
        "mean": 5000.0,
        "variance": 5.0,
        "attention": 1.0,
        "block_rate": 3.0,  # learning-rate multiplier of the block that learns
        "lower_rate": 0.0,  # of the blocks below it: 0 is hard freezing, 0.3 the original's soft one
        "block_end_ratio": 1.0,  # what a block's rate falls to by the end of the steps in which it learns
        "background": True,  # the warm-up that restarts with every stage
        **LOCAL_OFF,
        "layer_map": (),  # teacher block of each student block; empty: equal shares
        # What the student takes over from the teacher at the start; add "norm" to fit its first NoNorm to the
        # teacher's LayerNorm, which the original leaves at one: short runs need it.
        "copy": ("embeddings", "heads"),
        "tf1_compat": False,  # count padding, compare statistics with all layers, clip over frozen parameters too
        "optimizer": {"end_ratio": 1.0, "warmup_steps": 0},
    }


def _finetune_settings() -> dict:
    """What fine-tuning on questions and on labels has besides."""
    return {
        "questions": "",  # builtin:python-docs-qa, a SQuAD json file, hf: or tfds:; empty: no question answering
        "doc_stride": 128,
        "max_query_length": 64,
        "max_answer_length": 30,
        "n_best": 20,
        "bad_answers": "drop",  # not where their offsets say: left out, counted and named, or "refuse"
        "bucketing": True,  # short windows, or texts, in batches of their own
        "dev": "",  # questions, or your own labels, that decide; empty: a tenth, or the data set's split validation
        # Of GLUE and of labels of your own.
        "dataset": "",  # a folder or file, hf: or tfds:
        "text": "text",  # the columns of your own labels
        "text_pair": "",  # empty: an example is one text
        "label": "label",
        "bad_rows": "refuse",  # lines of a tsv file with a wrong number of columns, or "drop" and count them
        # Of both.
        "epochs": 0.0,  # in place of steps; evaluate_every and save_every of 0 then mean once an epoch
        "warmup_share": 0.1,  # of the steps, in place of warmup_steps, where there are epochs
        "select": "best",  # on the dev set, or "last"; this and evaluate_every=0: scored at the end alone
        "quantize": "",  # learn as int8 will compute: dynamic, static or weight_only, as `mobilebert quantize` has them
        "hidden_act": "",  # in place of the model's own: relu6 bounds what a static range must hold
        "patience": 0,  # evaluations in a row without a better one that end the phase; 0: never
    }


def model_fields(cfg: ModelConfig) -> dict:
    """A preset as config leaves; the vocabulary's size belongs to the tokenizer."""
    return {name: value for name, value in cfg.to_dict().items() if name != "vocab_size"}

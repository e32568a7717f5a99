"""Sets up and runs a text experiment: checks, downloads, trains."""

import dataclasses
from pathlib import Path

import flax.linen as nn
from ml_collections import ConfigDict

from mlp_core.config import RateFactor, parse_config
from mlp_core.distributed.agreement import first_host_first
from mlp_core.distributed.sharding import divisible_size
from mlp_core.errors import MissingError, UserError, noted
from mlp_core.nn.precision import compute_dtype
from mlp_core.process.console import say
from mlp_core.process.user_paths import user_path
from mlp_core.run_folder.metrics import in_words
from mlp_core.run_folder.run_directory import RunFiles, check_run_directory, has_checkpoint
from mlp_core.runs.run import check_evaluation, run_task, tell_dry_run
from mlp_core.train import loop as train_loop
from mlp_core.train.data_record import (
    FLAG,
    DataRecord,
    check_same_data,
    check_same_data_on_all_hosts,
)
from mlp_core.train.durations import Plan
from mlp_core.train.optimizer import check_schedule
from mlp_core.train.programs import check_parameters
from mlp_core.train.task import Params, Task
from mlp_text.models.model_spec import (
    EncoderSpec,
    TextModelSpec,
    expected_params,
    read_spec,
)
from mlp_text.models.text_models import TENSOR_PARALLEL
from mlp_text.tasks.config import TextConfig
from mlp_text.tasks.corpus_data import CorpusData
from mlp_text.tasks.labelled_data import LabelledData
from mlp_text.tasks.made_vocabulary import fingerprint, made_files_dir, made_vocabulary
from mlp_text.tasks.model_from_config import check_fields, wanted_encoder
from mlp_text.tokens.tokenizer import TOKENIZER_FILE, Tokenizer, open_tokenizer
from mlp_text.weights.loading import (
    TextWeights,
    locate_text_weights,
    open_text_weights,
    weights_before_fetching,
)
from mlp_text.weights.pretrained import check_fit, load_params

SETTINGS = TextConfig
FINGERPRINT_FILE = "training_text.sha256"  # In runs of earlier versions; now `data.json`.
DATA = {"text_classification": LabelledData, "masked_lm": CorpusData}
NEXT_STEPS = (
    "try it with launch/predict.py --weights=RUN 'Some text.', change any field with\n"
    "--config.FIELD=VALUE and another --workdir, or start another run from this one with\n"
    "--config.init.weights=RUN."
)
BERT_DROPOUT = 0.1  # For a trainable BERT below a gMLP; BERT, appendix A.2.
SHORTEST = 3  # Fewest tokens of a sequence that holds text.
Data = LabelledData | CorpusData


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A checked experiment with its data and weights on this machine."""

    settings: TextConfig
    spec: TextModelSpec
    tokenizer: Tokenizer
    data: Data
    task: Task
    record: DataRecord
    weights: TextWeights | None  # None: random, or resumed from a checkpoint.


def prepare(config: ConfigDict, workdir: Path, allow_changed_data: bool = False) -> Prepared:
    """Checks the experiment, then downloads what it needs.

    With `allow_changed_data`, a run may resume on different data.

    Raises:
        UserError: something in the configuration, the data or the weights is wrong or missing.
    """
    settings = parse_config(TextConfig, config)
    check_run_directory(workdir, config, allow_changed_data)
    saved = read_spec(RunFiles.of(workdir).model) if has_checkpoint(workdir) else None
    source = None if saved else source_of_weights(settings)
    known = check_before_fetching(settings, source, saved)
    data, weights = fetch(settings, source, known)
    if saved:
        tokenizer, spec = open_tokenizer(workdir / TOKENIZER_FILE), saved
        data = data.for_model(f"--workdir={workdir}", spec)
    else:
        tokenizer = known_tokenizer(settings, weights) or _made_tokenizer(settings, data)
        spec = data.spec(wanted_encoder(settings, _encoder_of(weights), tokenizer.vocab_size))
    if weights:
        check_fit(str(weights.path), weights.spec, spec)

    def start() -> Params | None:
        return load_params(weights, spec, settings.seed) if weights else None

    task = data.task(spec, build_model(settings, spec), tokenizer, start)
    plan = Plan.of(settings, len(task.train_source))
    check_schedule(settings.schedule, plan.total, plan.warmup)
    record = DataRecord.of(task, spec.class_names, tokenizer.to_json())
    named = _named_tokenizer(settings) or tokenizer
    check_same_data(workdir, record.with_tokenizer(named.to_json()), config, allow_changed_data)
    if saved and not allow_changed_data:
        _check_training_text(workdir, data)
    settings = with_rate_of_bert(settings, spec)
    return Prepared(settings, spec, tokenizer, data, task, record, weights)


def train(
    config: ConfigDict,
    workdir: Path,
    dry_run: bool = False,
    profile: bool = False,
    allow_changed_data: bool = False,
) -> dict[str, float]:
    """Runs the experiment in `workdir` and returns the last evaluation by metric name.

    Checks precede downloads, downloads precede compilation. A dry run stops before compilation.
    With `profile`, a trace of a few steps is written next to the TensorBoard events. With
    `allow_changed_data`, a run may resume on different data.

    Raises:
        UserError: something in the configuration, the data or the weights is wrong or missing.
    """
    with first_host_first("preparation of data and weights"):
        prepared = prepare(config, workdir, allow_changed_data)
    settings, spec, task = prepared.settings, prepared.spec, prepared.task
    num_examples = len(task.train_source)
    check_same_data_on_all_hosts(prepared.record, Plan.of(settings, num_examples).total)
    if dry_run:
        if prepared.weights:
            prepared.weights.check()
        params = expected_params(build_model(settings, spec), spec)
        tell_dry_run(settings, params, TENSOR_PARALLEL, num_examples)
        return {}
    files = {
        RunFiles.of(workdir).model.name: spec.to_json() + "\n",
        RunFiles.of(workdir).data.name: prepared.record.to_json(),
        TOKENIZER_FILE: prepared.tokenizer.to_json(),
    }
    results = run_task(task, settings, config, workdir, files, NEXT_STEPS, profile)
    baselines = in_words(prepared.data.baselines(task))
    say(f"For comparison, {prepared.data.BASELINE}: {baselines}")
    return results


def check_before_fetching(
    settings: TextConfig, source: str | None, saved: TextModelSpec | None
) -> TextWeights | None:
    """Rejects invalid settings before any download.

    Args:
      settings: the experiment.
      source: the weights that it starts from.
      saved: the model of the checkpoint that it resumes from.

    Returns the opened weights if they are on this machine.

    Raises:
        UserError: a setting is invalid; names the field.
    """
    data = DATA[settings.task]
    train_loop.check_batch_sizes(settings)
    check_evaluation(settings, settings.data.eval_splits, data.MEASURES)
    check_fields(settings)
    weights = weights_before_fetching(source) if source else None
    if source and not weights:
        return None  # Unknown fields come from the weights.
    if saved:
        encoder = saved.encoder
    else:
        tokenizer = known_tokenizer(settings, weights)
        vocab_size = tokenizer.vocab_size if tokenizer else settings.tokenizer.vocab_size
        encoder = wanted_encoder(settings, _encoder_of(weights), vocab_size)
    spec = TextModelSpec(encoder=encoder, head=data.HEAD, num_classes=divisible_size())
    if weights:
        check_fit(str(weights.path), weights.spec, spec)
    if spec.max_length < SHORTEST:
        raise UserError(
            f"config.data.max_length: {spec.max_length} tokens are too few; [CLS], [SEP] and text "
            f"need {SHORTEST} or more."
        )
    data.check_settings(settings, spec.max_length)
    params = expected_params(build_model(settings, spec), spec)
    check_parameters(with_rate_of_bert(settings, spec), params, TENSOR_PARALLEL)
    return weights


def fetch(
    settings: TextConfig, source: str | None, weights: TextWeights | None
) -> tuple[Data, TextWeights | None]:
    """Returns data and weights, downloaded if needed; opened `weights` are passed through.

    Raises:
        MissingError: lists everything that is missing.
        UserError: data or weights are invalid.
    """
    data, missing = None, []
    splits = {"config.data.train_split": settings.data.train_split} | {
        f"config.data.eval_splits.{name}": split
        for name, split in settings.data.eval_splits.items()
    }
    with noted(missing):
        data = DATA[settings.task].open(settings, splits)
    with noted(missing):
        if source and not weights:
            weights = open_text_weights(locate_text_weights(source))
    if missing:
        missing.append("(configs/gmlp_mlm_python.py needs no download.)")
        raise MissingError("\n".join(missing))
    return data, weights


def source_of_weights(settings: TextConfig) -> str | None:
    """Returns the source of the weights that a run starts from, if any.

    Raises:
        UserError: two sources are named, or BERT weights without a BERT.
    """
    init, bert = settings.init.weights, settings.bert
    if bert.weights and not bert.name:
        raise UserError(
            "config.bert.weights: there is no BERT to have them; set config.bert.name=bert."
        )
    if bert.weights and init:
        raise UserError(
            "config.init.weights, config.bert.weights: name only one of them; weights of a gMLP on "
            "a BERT hold that BERT."
        )
    return init or bert.weights


def _check_training_text(workdir: Path, data: Data) -> None:
    """Rejects changed training text in runs of earlier versions, which recorded nothing else.

    Raises:
        UserError: the text differs.
    """
    file = workdir / FINGERPRINT_FILE
    if RunFiles.of(workdir).data.exists() or not file.is_file():
        return
    if file.read_text().strip() != fingerprint(data):
        raise UserError(
            "config.data.train_split: this is not the text on which the run in "
            f"--workdir={workdir} was started; restore it, name another --workdir, or resume the "
            f"run on this text with {FLAG}."
        )


def _named_tokenizer(settings: TextConfig) -> Tokenizer | None:
    """Returns the configured tokenizer if it still exists, for comparison.

    A resumed run reads its own copy.
    """
    path = settings.tokenizer.path
    return known_tokenizer(settings, None) if path and user_path(path).exists() else None


def _encoder_of(weights: TextWeights | None) -> EncoderSpec | None:
    return weights.spec.encoder if weights else None


def known_tokenizer(settings: TextConfig, weights: TextWeights | None) -> Tokenizer | None:
    """Returns the configured tokenizer or that of the weights; None if it must be trained.

    Raises:
        UserError: it cannot be read.
    """
    path = settings.tokenizer.path
    if path:
        return open_tokenizer(
            user_path(path, "config.tokenizer.path="), settings.tokenizer.lowercase
        )
    return weights.tokenizer() if weights else None


def _made_tokenizer(settings: TextConfig, data: Data) -> Tokenizer:
    """Returns a tokenizer trained on the training text.

    Raises:
        UserError: there is no text.
    """
    folder = made_files_dir(settings.data.made_files_dir)
    return open_tokenizer(made_vocabulary(settings.tokenizer, folder, data))


def with_rate_of_bert(settings: TextConfig, spec: TextModelSpec) -> TextConfig:
    """Adds the learning-rate multiplier of a BERT below a gMLP to the optimizer."""
    if not spec.bert_below:
        return settings
    factor = RateFactor(pattern="encoder/bert/.*", factor=settings.bert.rate_factor)
    factors = (*settings.optimizer.rate_factors, factor)
    optimizer = dataclasses.replace(settings.optimizer, rate_factors=factors)
    return dataclasses.replace(settings, optimizer=optimizer)


def build_model(settings: TextConfig, spec: TextModelSpec) -> nn.Module:
    """Creates the model with the experiment's training options."""
    rates = settings.model
    training = dict(
        dropout_rate=rates.dropout_rate, attention_dropout_rate=rates.attention_dropout_rate
    )
    if spec.encoder.architecture == "gmlp":
        training |= dict(stochastic_depth=rates.stochastic_depth)
    if spec.bert_below and settings.bert.rate_factor > 0:
        training |= dict(bert_dropout_rate=BERT_DROPOUT)
    return spec.create_model(
        compute_dtype(settings.train.compute_dtype),
        head_dropout_rate=rates.head_dropout_rate,
        scan_layers=settings.train.scan_layers,
        remat=settings.train.remat,
        **training,
    )

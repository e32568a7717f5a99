"""Sets up and runs a text experiment: checks, then fetches, then trains."""

import dataclasses
from pathlib import Path

import flax.linen as nn
from ml_collections import ConfigDict

from mlp_core import train_loop
from mlp_core.config import RateFactor, parse_config
from mlp_core.console import say
from mlp_core.errors import MissingError, UserError
from mlp_core.optimizer import check_weight_decay, make_schedule
from mlp_core.plan import Plan
from mlp_core.precision import compute_dtype
from mlp_core.rate_factors import check_rate_factors
from mlp_core.run import check_evaluation, run_task
from mlp_core.run_directory import RunFiles, check_run_directory, has_checkpoint
from mlp_core.scores import in_words
from mlp_core.task import Params, Task
from mlp_text.config import TextConfig
from mlp_text.corpus_data import CorpusData
from mlp_text.labelled_data import LabelledData
from mlp_text.made_vocabulary import made_files_dir, made_vocabulary
from mlp_text.model_spec import EncoderSpec, TextModelSpec, expected_params, read_spec
from mlp_text.pretrained import check_fit, load_params
from mlp_text.tokenizer import TOKENIZER_FILE, Tokenizer, open_tokenizer
from mlp_text.wanted_model import wanted_encoder
from mlp_text.weights import (
    TextWeights,
    locate_text_weights,
    open_text_weights,
    weights_before_fetching,
)

SETTINGS = TextConfig
DATA = {"text_classification": LabelledData, "masked_lm": CorpusData}
NEXT_STEPS = (
    "try it with launch/predict.py --weights=RUN 'Some text.', change any field with\n"
    "--config.FIELD=VALUE and another --workdir, or start another run from this one with\n"
    "--config.init.weights=RUN."
)
BERT_DROPOUT = 0.1  # Of one that learns; appendix A.2 of its paper.
Data = LabelledData | CorpusData


@dataclasses.dataclass(frozen=True)
class Prepared:
    """An experiment that has been checked, with its data and weights on this machine."""

    settings: TextConfig
    spec: TextModelSpec
    tokenizer: Tokenizer
    data: Data
    task: Task
    weights: TextWeights | None  # None: random, or a checkpoint is there to go on with.


def prepare(config: ConfigDict, workdir: Path) -> Prepared:
    """Checks the experiment and fetches what it needs; checks come before downloads.

    Raises:
        UserError: something in the configuration, the data or the weights is wrong or missing.
    """
    settings = _with_rate_of_bert(parse_config(TextConfig, config))
    check_run_directory(workdir, config)
    resumes = has_checkpoint(workdir)
    saved = read_spec(RunFiles.of(workdir).model) if resumes else None
    source = None if resumes else _source_of_weights(settings)
    check_before_fetching(settings, source, saved)
    data, weights = fetch(settings, source)
    if resumes:
        tokenizer = open_tokenizer(workdir / TOKENIZER_FILE)
    else:
        tokenizer = choose_tokenizer(settings, data, weights)
    spec = saved or data.spec(_encoder(settings, weights, tokenizer.vocab_size))
    if saved:
        data.check(f"--workdir={workdir}", saved)
    if weights:
        check_fit(str(weights.path), weights.spec, spec)

    def start() -> Params | None:
        return load_params(weights, spec, settings.seed) if weights else None

    task = data.task(spec, _build_model(settings, spec), tokenizer, start)
    plan = Plan.of(settings, len(task.train_source))
    make_schedule(settings.schedule, plan.total, plan.warmup)
    return Prepared(settings, spec, tokenizer, data, task, weights)


def train(config: ConfigDict, workdir: Path, dry_run: bool = False) -> dict[str, float]:
    """Runs the experiment in `workdir` and returns the last evaluation by metric name.

    Checks come before downloads, downloads before compilation. A dry run ends after them.

    Raises:
        UserError: something in the configuration, the data or the weights is wrong or missing.
    """
    prepared = prepare(config, workdir)
    data = prepared.data
    if dry_run:
        if prepared.weights:
            prepared.weights.check()
        say("Dry run: configuration, data and weights are in order; nothing was trained.")
        return {}
    files = {
        RunFiles.of(workdir).model.name: prepared.spec.to_json() + "\n",
        TOKENIZER_FILE: prepared.tokenizer.to_json(),
    }
    results = run_task(prepared.task, prepared.settings, config, workdir, files, NEXT_STEPS)
    say(f"For comparison, {data.BASELINE}: {in_words(data.baselines(prepared.task))}")
    return results


def check_before_fetching(
    settings: TextConfig, source: str | None, saved: TextModelSpec | None
) -> None:
    """What can be known to be wrong before anything is fetched.

    Args:
      settings: the experiment.
      source: the weights that it starts from.
      saved: the model of a checkpoint that it goes on from.

    Raises:
        UserError: names the field.
    """
    train_loop.check_batch_sizes(settings)
    check_evaluation(settings, settings.data.eval_splits, DATA[settings.task].MEASURES)
    weights = weights_before_fetching(source) if source else None
    if source and not weights:
        return  # The weights settle what is not known.
    if saved:
        encoder = saved.encoder
    else:
        vocab_size = weights.spec.encoder.vocab_size if weights else settings.tokenizer.vocab_size
        encoder = _encoder(settings, weights, vocab_size)
    head = "masked_lm" if settings.task == "masked_lm" else "classification"
    spec = TextModelSpec(encoder=encoder, head=head, num_classes=1)
    if weights:
        check_fit(source, weights.spec, spec)
    expected = expected_params(_build_model(settings, spec), spec)
    check_weight_decay(settings.optimizer, expected)
    check_rate_factors(settings.optimizer, expected)


def fetch(settings: TextConfig, source: str | None) -> tuple[Data, TextWeights | None]:
    """Data and weights, downloaded where need be.

    Raises:
        MissingError: tells all that is missing at once.
        UserError: something is not as it should be.
    """
    data, weights, missing = None, None, []
    splits = {"config.data.train_split": settings.data.train_split} | {
        f"config.data.eval_splits.{name}": split
        for name, split in settings.data.eval_splits.items()
    }
    try:
        data = DATA[settings.task].open(settings, splits)
    except MissingError as error:
        missing.append(str(error))
    try:
        if source:
            weights = open_text_weights(locate_text_weights(source))
    except MissingError as error:
        missing.append(str(error))
    if missing:
        missing.append("(configs/gmlp_mlm_python.py needs no download.)")
        raise MissingError("\n".join(missing))
    return data, weights


def choose_tokenizer(settings: TextConfig, data: Data, weights: TextWeights | None) -> Tokenizer:
    """The one that is named, that of the weights, or one made of the training text.

    Raises:
        UserError: it cannot be read, or no vocabulary can be made.
    """
    wanted = settings.tokenizer
    if wanted.path:
        return open_tokenizer(Path(wanted.path).expanduser(), wanted.lowercase)
    if weights:
        return weights.tokenizer()
    folder = made_files_dir(settings.data.made_files_dir)
    return open_tokenizer(made_vocabulary(wanted, folder, data))


def _with_rate_of_bert(settings: TextConfig) -> TextConfig:
    """The optimizer told how fast a BERT below a gMLP learns."""
    if not settings.bert.name:
        return settings
    factor = RateFactor(pattern="encoder/bert/.*", factor=settings.bert.rate_factor)
    factors = (*settings.optimizer.rate_factors, factor)
    optimizer = dataclasses.replace(settings.optimizer, rate_factors=factors)
    return dataclasses.replace(settings, optimizer=optimizer)


def _source_of_weights(settings: TextConfig) -> str | None:
    """What a run starts from.

    Raises:
        UserError: two sources are named.
    """
    if settings.bert.weights and not settings.bert.name:
        raise UserError(
            "config.bert.weights: set config.bert.name, too; to bert for the size of the weights."
        )
    if settings.init.weights and settings.bert.weights:
        raise UserError(
            "config.init.weights and config.bert.weights are both set; weights of a gMLP on a BERT "
            "hold that BERT, so name only one."
        )
    return settings.init.weights or settings.bert.weights


def _encoder(settings: TextConfig, weights: TextWeights | None, vocab_size: int) -> EncoderSpec:
    there = weights.spec.encoder if weights else None
    if settings.bert.weights and there is not None and there.architecture != "bert":
        raise UserError(
            f"config.bert.weights: {settings.bert.weights} is no BERT; config.init.weights takes "
            "it."
        )
    return wanted_encoder(settings, there, vocab_size)


def _build_model(settings: TextConfig, spec: TextModelSpec) -> nn.Module:
    rates = settings.model
    training = dict(dropout_rate=rates.dropout_rate)
    if spec.encoder.architecture == "gmlp":
        training |= dict(
            attention_dropout_rate=rates.attention_dropout_rate,
            stochastic_depth=rates.stochastic_depth,
            bert_dropout_rate=BERT_DROPOUT if settings.bert.rate_factor else 0.0,
        )
    return spec.create_model(
        compute_dtype(settings.train.compute_dtype),
        head_dropout_rate=rates.head_dropout_rate,
        **training,
    )

"""The recipes of the text configs are the papers', and their smoke versions train."""

import dataclasses

import jax
import pytest

from mlp_core.config import parse_config
from mlp_core.train.durations import Plan
from mlp_core.train.optimizer import check_schedule, check_weight_decay, make_optimizer
from mlp_text.models.model_spec import TextModelSpec
from mlp_text.models.registry import find_model
from mlp_text.tasks import experiment
from mlp_text.tasks.config import TextConfig
from mlp_text.tasks.model_from_config import check_fields, wanted_encoder
from mlp_text.weights.pretrained import expected_params
from tests.configs.config_files import CONFIGS, load
from tests.conftest import ROOT

TEXT_CONFIGS = [path for path in CONFIGS if load(path).task != "image_classification"]
BERT_BASE = find_model("bert_base")[0](**find_model("bert_base")[1], vocab_size=30_522)
WEIGHTS = "hf://google-bert/bert-base-uncased"
# One of each kind; the others are made of the same parts.
TRAINED = ("gmlp_sst2", "bert_sst2")
TRAINED_RARELY = ("gmlp_mlm_c4", "amlp_mnli_scratch", "gmlp_bert_mnli")
DRY = [path.stem for path in TEXT_CONFIGS if path.stem not in TRAINED + TRAINED_RARELY]
FAMILIES = ("gmlp", "tmlp", "amlp")
GLUE = {  # Evaluations, and by which of them a checkpoint is the best.
    "sst2": ({"validation": "validation"}, "validation/accuracy"),
    "mnli": (
        {"matched": "validation_matched", "mismatched": "validation_mismatched"},
        "matched/accuracy",
    ),
}


def settings_of(name, arg=""):
    return parse_config(TextConfig, load(ROOT / "configs" / f"{name}.py", arg))


def encoder_of(settings):
    """The encoder; that of a run which starts from weights is told by what they will be."""
    check_fields(settings)
    source, start = settings.init.weights or settings.bert.weights, None
    if source == WEIGHTS:
        start = BERT_BASE
    elif source:
        start = encoder_of(settings_of(source.removeprefix("runs/")))
    return wanted_encoder(settings, start, settings.tokenizer.vocab_size)


def shapes_of(settings, num_blocks=2):
    """Parameter shapes of a model of so many blocks; deep ones take long to tell."""
    encoder = dataclasses.replace(encoder_of(settings), num_blocks=num_blocks)
    spec = TextModelSpec(encoder=encoder, head=experiment.DATA[settings.task].HEAD, num_classes=3)
    return expected_params(spec.create_model(), spec)


def encoder_size(params):
    return sum(leaf.size for name, leaf in params.items() if name.startswith("encoder/"))


@pytest.mark.parametrize("path", TEXT_CONFIGS, ids=lambda path: path.stem)
def test_config_builds_model_schedule_and_optimizer(path):
    settings = parse_config(TextConfig, load(path))
    params = shapes_of(settings)
    plan = Plan.of(settings, 50_000)
    check_schedule(settings.schedule, plan.total, plan.warmup)
    optimizer = make_optimizer(settings.optimizer, lambda step: 0.1, weight_decay=0.1)
    jax.eval_shape(optimizer.init, params)
    check_weight_decay(settings.optimizer, params)
    assert plan.evaluate_every > 0 and plan.save_every > 0 and plan.report_every > 0


def tiny_smoke(name):
    config = load(ROOT / "configs" / f"{name}.py", "smoke")
    config.train.duration = "2 steps"
    config.model.num_blocks = 1  # What costs time is compilation.
    config.model.hidden_dim = config.model.ffn_dim = config.data.max_length = 16
    return config


@pytest.mark.parametrize(
    "name", [*TRAINED, *(pytest.param(name, marks=pytest.mark.rare) for name in TRAINED_RARELY)]
)
def test_smoke_version_trains_two_steps_on_made_text(name, tmp_path):
    config = tiny_smoke(name)
    results = experiment.train(config, tmp_path)
    measures = {
        "masked_lm": {"loss", "perplexity", "masked_accuracy"},
        "text_classification": {"loss", "accuracy"},
    }[config.task]
    assert set(results) == {f"validation/{measure}" for measure in measures}
    assert (tmp_path / "checkpoints" / "2").is_dir()
    assert (tmp_path / "tokenizer.json").is_file()


@pytest.mark.parametrize("name", DRY)
def test_other_smoke_versions_are_in_order_up_to_compilation(name, tmp_path, capsys):
    experiment.train(tiny_smoke(name), tmp_path, dry_run=True)
    assert "Dry run: configuration, data and weights are in order" in capsys.readouterr().out


# Table 4 and 5 of the paper: blocks, channels, width, tokens, attention; and parameters without
# the head and the last LayerNorm, of which its figures, in millions, leave no room.
MLM_SIZES = {
    ("gmlp", "l18"): (18, 512, 3072, 128, 0, 58_996_462),
    ("gmlp", "l36"): (36, 512, 3072, 128, 0, 101_608_924),
    ("gmlp", "l72"): (72, 512, 3072, 128, 0, 186_833_848),
    ("gmlp", "l144"): (144, 512, 3072, 128, 0, 357_283_696),
    ("gmlp", "base"): (48, 512, 3072, 512, 0, 130_072_528),
    ("gmlp", "large"): (96, 768, 3072, 512, 0, 365_272_992),
    ("gmlp", "xlarge"): (144, 1024, 4096, 512, 0, 940_580_720),
    ("amlp", "l18"): (18, 512, 3072, 128, 64, 62_566_510),
    ("amlp", "l36"): (36, 512, 3072, 128, 64, 108_749_020),
    ("amlp", "base"): (36, 512, 3072, 512, 64, 108_790_492),
    ("amlp", "large"): (72, 768, 3072, 512, 128, 315_626_424),
}


@pytest.mark.parametrize("family, name", MLM_SIZES)
def test_masked_lm_models_have_the_papers_sizes(family, name):
    settings = settings_of(f"{family}_mlm_c4", name)
    *sizes, attention, parameters = MLM_SIZES[family, name]
    encoder = encoder_of(settings)
    assert [encoder.num_blocks, encoder.hidden_dim, encoder.ffn_dim, encoder.max_length] == sizes
    assert encoder.spatial_matrix == "toeplitz" and encoder.gating == "split"
    assert encoder.tiny_attention_dim == attention and not encoder.mask_pads
    one, two = (encoder_size(shapes_of(settings, depth)) for depth in (1, 2))
    final_norm = 2 * encoder.hidden_dim
    assert one + (encoder.num_blocks - 1) * (two - one) - final_norm == parameters


@pytest.mark.parametrize("family, name", MLM_SIZES)
def test_masked_lm_training_is_the_papers(family, name):
    """Table 8: the short run for models of 128 tokens, the full one for those of 512."""
    settings = settings_of(f"{family}_mlm_c4", name)
    optimizer, schedule, masking = settings.optimizer, settings.schedule, settings.masking
    is_short = name.startswith("l") and name != "large"
    batch_size, rate, steps, corpus = (
        (2048, 7e-4, 125_000, "realnewslike") if is_short else (256, 1e-4, 1_000_000, "en")
    )
    plan = Plan.of(settings, 10_000_000)
    assert settings.train.global_batch_size == batch_size
    assert (plan.total, plan.warmup) == (steps, 10_000)
    assert (schedule.name, schedule.peak_learning_rate) == ("linear", rate)
    assert (optimizer.name, optimizer.beta1, optimizer.beta2) == ("adamw", 0.9, 0.999)
    assert (optimizer.epsilon, optimizer.weight_decay) == (1e-6, 0.01)
    assert optimizer.clip_global_norm == 0
    assert settings.model.dropout_rate == settings.model.attention_dropout_rate == 0
    assert (masking.rate, masking.mask_share, masking.random_share) == (0.15, 0.8, 0.1)
    tokenizer = settings.tokenizer
    assert (tokenizer.kind, tokenizer.vocab_size, tokenizer.lowercase) == ("unigram", 32_000, False)
    assert f"/{corpus}/" in settings.data.train_split
    assert settings.evaluation.best_metric == "validation/masked_accuracy"


def test_the_default_of_masked_lm_training_is_that_of_the_ablations_and_of_amlp_base():
    assert settings_of("gmlp_mlm_c4") == settings_of("gmlp_mlm_c4", "l36")
    assert settings_of("amlp_mlm_c4") == settings_of("amlp_mlm_c4", "base")
    assert settings_of("gmlp_mlm_c4", "base,smoke").train.duration.amount == 20


@pytest.mark.parametrize("arg, unknown", [("l19", "l19"), ("l18,smoek", "smoek")])
def test_a_size_of_masked_lm_that_there_is_not_is_told(arg, unknown):
    with pytest.raises(ValueError, match=f"no variant '{unknown}'; choose a size from l36, l18"):
        settings_of("gmlp_mlm_c4", arg)


@pytest.mark.parametrize("task", GLUE)
@pytest.mark.parametrize("family", [*FAMILIES, "bert"])
def test_fine_tuning_is_the_papers(family, task):
    """Table 9, with the rate and the batch size that the comparison chose from its choices."""
    settings = settings_of(f"{family}_{task}")
    check_glue(settings, task, peak_learning_rate=2e-5)
    run = {"gmlp": "runs/gmlp_mlm_c4", "tmlp": "runs/gmlp_mlm_c4", "amlp": "runs/amlp_mlm_c4"}
    assert settings.init.weights == run.get(family, WEIGHTS)
    encoder = encoder_of(settings)
    if family == "bert":
        assert encoder == dataclasses.replace(BERT_BASE, max_length=128, vocab_size=8192)
    else:
        assert (encoder.num_blocks, encoder.hidden_dim, encoder.ffn_dim) == (36, 512, 3072)
        assert encoder.spatial_matrix == ("full" if family == "gmlp" else "toeplitz")
        assert encoder.tiny_attention_dim == (64 if family == "amlp" else 0)


@pytest.mark.parametrize("task", GLUE)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["scratch", "bert"])
def test_other_glue_recipes_differ_in_model_and_rate_only(kind, family, task):
    name = f"{family}_{task}_scratch" if kind == "scratch" else f"{family}_bert_{task}"
    settings, rate = settings_of(name), 3e-4 if kind == "scratch" else 2e-4
    check_glue(settings, task, peak_learning_rate=rate)
    encoder = encoder_of(settings)
    assert (encoder.num_blocks, encoder.hidden_dim, encoder.max_length) == (18, 512, 128)
    assert encoder.spatial_matrix == ("full" if family == "gmlp" else "toeplitz")
    assert encoder.tiny_attention_dim == (64 if family == "amlp" else 0)
    if kind == "bert":
        assert settings.bert.weights == WEIGHTS and settings.bert.rate_factor == 0
        assert encoder.bert.hidden_dim == 768 and encoder.bert_features == "last"
    assert encoder.mask_pads == (kind == "bert")


def check_glue(settings, task, peak_learning_rate):
    optimizer, schedule, model = settings.optimizer, settings.schedule, settings.model
    plan, (eval_splits, best) = Plan.of(settings, 67_349), GLUE[task]
    assert settings.data.name == f"glue/{task}" and settings.data.max_length == 128
    assert settings.data.eval_splits == eval_splits and settings.evaluation.best_metric == best
    assert (plan.total, plan.warmup) == (10_523, 1_052)  # 5 epochs; a tenth.
    assert settings.train.global_batch_size == 32
    assert (schedule.name, schedule.peak_learning_rate) == ("linear", peak_learning_rate)
    assert (optimizer.name, optimizer.beta1, optimizer.beta2) == ("adamw", 0.9, 0.999)
    assert (optimizer.epsilon, optimizer.weight_decay) == (1e-6, 0.01)
    assert model.dropout_rate == model.attention_dropout_rate == model.head_dropout_rate == 0.1
    assert settings.sweep.grid == ("seed=0,1,2,3,4",)  # The median of five runs.


@pytest.mark.parametrize("family", FAMILIES)
def test_the_small_model_comes_in_three_forms(family):
    encoder = encoder_of(settings_of("sst2_small", family))
    assert encoder.spatial_matrix == ("full" if family == "gmlp" else "toeplitz")
    assert encoder.tiny_attention_dim == (64 if family == "amlp" else 0)
    assert settings_of("sst2_small", f"{family},smoke").data.name == "synthetic_text"
    assert settings_of("sst2_small") == settings_of("sst2_small", "gmlp")

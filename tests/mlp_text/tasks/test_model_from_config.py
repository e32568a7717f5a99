"""A field that is set holds, then the model's name, then the weights; the rest has defaults."""

import dataclasses

import pytest

from configs import text_common
from mlp_core.config import parse_config
from mlp_core.errors import UserError
from mlp_text.models.model_spec import BertEncoderSpec, GmlpEncoderSpec
from mlp_text.tasks.config import TextConfig
from mlp_text.tasks.model_from_config import check_fields, wanted_encoder
from mlp_text.weights.pretrained import differences

SIZES = dict(hidden_dim=16, num_blocks=2, ffn_dim=32)
GMLP = GmlpEncoderSpec(**SIZES, vocab_size=100, max_length=8, gelu="erf", segments=True)
TMLP = dataclasses.replace(GMLP, spatial_matrix="toeplitz")
BERT = BertEncoderSpec(**SIZES, vocab_size=100, max_length=8, num_heads=4, gelu="tanh")


def settings(name, max_length=None, bert=None, features="last", task="classification", **model):
    config = getattr(text_common, task)()
    config.model.name, config.bert.name, config.bert.features = name, bert, features
    config.data.max_length = max_length
    config.model.update(model)
    parsed = parse_config(TextConfig, config)
    check_fields(parsed)
    return parsed


def test_a_random_start_has_the_names_sizes_and_defaults():
    encoder = wanted_encoder(settings("amlp_l18"), None, 500)
    assert encoder == GmlpEncoderSpec(
        vocab_size=500, hidden_dim=512, num_blocks=18, ffn_dim=3072, max_length=128,
        spatial_matrix="toeplitz", tiny_attention_dim=64, gelu="tanh",
    )  # fmt: skip


def test_what_nothing_else_settles_is_as_in_the_weights():
    assert wanted_encoder(settings("gmlp"), GMLP, 100) == GMLP
    assert wanted_encoder(settings("bert"), BERT, 100) == BERT


def test_the_name_goes_before_the_weights_and_a_field_before_the_name():
    assert wanted_encoder(settings("tmlp"), GMLP, 100).spatial_matrix == "toeplitz"
    asked = settings("tmlp_l18", 32, spatial_matrix="full", num_blocks=3, segments=False)
    encoder = wanted_encoder(asked, GMLP, 100)
    assert (encoder.hidden_dim, encoder.num_blocks, encoder.max_length) == (512, 3, 32)
    assert encoder.spatial_matrix == "full" and not encoder.segments


def test_amlp_has_a_head_of_the_weights_size_if_they_have_one():
    amlp = dataclasses.replace(TMLP, tiny_attention_dim=128)
    assert wanted_encoder(settings("amlp"), amlp, 100) == amlp
    assert wanted_encoder(settings("amlp"), TMLP, 100).tiny_attention_dim == 64
    assert wanted_encoder(settings("amlp_base"), amlp, 100).tiny_attention_dim == 64
    assert wanted_encoder(settings("amlp", tiny_attention_dim=0), amlp, 100) == TMLP


def test_a_bert_below_is_as_in_its_weights_and_its_pads_are_masked():
    asked = settings("gmlp_l18", 8, bert="bert", features="concat4")
    bert = dataclasses.replace(BERT, num_blocks=4)
    encoder = wanted_encoder(asked, bert, 100)
    assert encoder.bert == bert and encoder.bert_features == "concat4" and encoder.mask_pads
    assert not wanted_encoder(settings("gmlp_l18", 8, "bert", mask_pads=False), BERT, 100).mask_pads
    assert (
        wanted_encoder(settings("gmlp", bert="bert", features="concat4"), encoder, 100) == encoder
    )
    assert wanted_encoder(settings("gmlp"), encoder, 100) == encoder


@pytest.mark.parametrize(
    "features, blocks", [("second_last", 2), ("sum4", 4), ("concat4", 4)], ids=str
)
def test_features_never_reach_down_to_the_embeddings(features, blocks):
    asked = settings("gmlp_l18", 8, bert="bert", features=features)
    enough = dataclasses.replace(BERT, num_blocks=blocks)
    assert wanted_encoder(asked, enough, 100).bert == enough
    message = (
        f"config.bert.features: {features} needs a BERT of {blocks} or more .* has {blocks - 1}"
    )
    with pytest.raises(UserError, match=message):
        wanted_encoder(asked, dataclasses.replace(BERT, num_blocks=blocks - 1), 100)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"name": "gpt"}, "there is no text model 'gpt'; choose from gmlp, "),
        ({"name": "gmlp", "num_heads": 2}, "config.model.num_heads: 'gmlp' has no such field"),
        ({"name": "bert", "gating": "split"}, "config.model.gating: 'bert' has no such field"),
        ({"name": "bert_tiny", "stochastic_depth": 0.1}, "config.model.stochastic_depth: 'bert_t"),
        ({"name": "gmlp", "bert": "gmlp_base"}, "config.bert.name: 'gmlp_base' is no BERT"),
        ({"name": "bert", "bert": "bert_base"}, "'bert' cannot be fed with a BERT's states"),
        ({"name": "gmlp"}, "'gmlp' needs config.model.hidden_dim, .*config.data.max_length"),
        ({"name": "gmlp_l18", "ffn_dim": 3}, "config.model: ffn_dim=3 cannot be split in halves"),
        ({"name": "gmlp_l18", "bert": "bert"}, "'bert' is of the size of its weights; name them"),
        ({"name": "gmlp_l18", "bert": "bert_base", "max_length": 513}, "513 tokens .* the 512"),
        ({"name": "gmlp_l18", "bert": "bert_base", "task": "masked_lm"}, "leave config.bert.name"),
    ],
)
def test_what_cannot_be_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        wanted_encoder(settings(**fields), None, 100)


@pytest.mark.parametrize(
    "start, changes, expected",
    [
        (GMLP, {}, []),
        (GMLP, {"hidden_dim": 32, "num_blocks": 1}, ["hidden_dim=16", "num_blocks=2"]),
        (GMLP, {"gelu": "tanh", "mask_pads": True, "segments": False}, []),
        (GMLP, {"max_length": 4}, []),
        (GMLP, {"max_length": 9}, ["max_length=8"]),
        (GMLP, {"spatial_matrix": "toeplitz"}, ["spatial_matrix=full"]),
        (TMLP, {"spatial_matrix": "full", "max_length": 9}, []),
        (GMLP, {"bert": BERT}, ["no BERT below"]),
        (dataclasses.replace(GMLP, bert=BERT), {"bert_features": "sum4"}, ["bert_features=last"]),
        (BERT, {"max_length": 4}, []),
        (BERT, {"max_length": 9, "num_heads": 2}, ["max_length=8", "num_heads=4"]),
    ],
)  # fmt: skip
def test_differences_are_what_weights_cannot_be_made_to_fit(start, changes, expected):
    assert sorted(differences(start, dataclasses.replace(start, **changes))) == expected

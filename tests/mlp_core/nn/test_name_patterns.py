"""Patterns on parameter names mean the same in both layouts of blocks, or are refused."""

import re

import numpy as np
import pytest

from mlp_core.errors import UserError
from mlp_core.nn.name_patterns import check_matches
from mlp_core.nn.parameters import flatten
from mlp_core.nn.stack import stack_blocks

PARAMS = {f"MixerBlock_{i}": {"kernel": np.zeros(2)} for i in range(3)} | {
    "stem": {"kernel": np.zeros(2)}
}
STACKED = stack_blocks(PARAMS)


@pytest.mark.parametrize(
    "pattern", [".*", ".*/kernel", "stem/.*", "MixerBlock.*", r"MixerBlock(s|_\d+)/kernel"]
)
def test_patterns_that_treat_all_blocks_alike_do_for_both_layouts(pattern):
    check_matches("field", pattern, PARAMS)
    check_matches("field", pattern, STACKED)


@pytest.mark.parametrize("pattern", ["MixerBlocks/.*", "MixerBlocks/.*|stem/.*"])
def test_names_of_stacked_blocks_do_for_these_only(pattern):
    check_matches("field", pattern, STACKED)
    with pytest.raises(UserError, match="^field matches 'MixerBlocks/kernel', which is 'MixerBl"):
        check_matches("field", pattern, PARAMS)


@pytest.mark.parametrize(
    "pattern",
    ["MixerBlock_1/.*", r"(MixerBlock_\d+|stem)/kernel", "(?!MixerBlock_0).*", ".*_.*"],
)
def test_patterns_that_single_out_blocks_or_their_names_are_refused_where_they_are_stacked(pattern):
    check_matches("field", pattern, PARAMS)
    message = "but config.train.scan_layers keeps that of all blocks as one array, 'MixerBlocks/k"
    for params in (STACKED, flatten(STACKED)):
        with pytest.raises(UserError, match=re.escape(message)):
            check_matches("field", pattern, params)


@pytest.mark.parametrize("params", [PARAMS, STACKED])
def test_a_pattern_that_matches_nothing_is_refused(params):
    with pytest.raises(UserError, match="^field matches no parameter; names look like '.*/kernel'"):
        check_matches("field", "kernel", params)

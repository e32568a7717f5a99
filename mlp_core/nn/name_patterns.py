"""Regular expressions on parameter names in a configuration."""

import re
from collections.abc import Mapping
from typing import Any

from mlp_core.errors import UserError
from mlp_core.nn.parameters import flatten
from mlp_core.nn.stack import names_by_stack


def check_matches(entry: str, pattern: str, params: Mapping[str, Any]) -> None:
    """Raises `UserError` if a pattern matches nothing, or depends on the layout of blocks.

    Args:
      entry: the config entry, with which the message begins.
      pattern: a regular expression on whole names.
      params: parameters, nested or by name, in either layout of `mlp_core.nn.stack`.
    """
    names = flatten(params)
    for stack, blocks in names_by_stack(params).items():
        of_stack = re.fullmatch(pattern, stack) is not None
        of_blocks = [name for name in blocks if re.fullmatch(pattern, name)]
        if stack in names and of_blocks and not (of_stack and len(of_blocks) == len(blocks)):
            raise UserError(
                f"{entry} matches {of_blocks[0]!r}, but config.train.scan_layers keeps that of all "
                f"blocks as one array, {stack!r}; write a pattern that matches it under both names "
                "and for all blocks, or set config.train.scan_layers=False."
            )
        if of_stack and stack not in names and not of_blocks:
            raise UserError(
                f"{entry} matches {stack!r}, which is {blocks[0]!r} and so on without "
                "config.train.scan_layers; write a pattern that matches both."
            )
    if not any(re.fullmatch(pattern, name) for name in names):
        raise UserError(f"{entry} matches no parameter; names look like {next(iter(names))!r}.")

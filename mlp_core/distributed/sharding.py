"""How the training state is sharded over the mesh: a placement for each parameter name.

A parameter's optimizer state and average are sharded like it. The compiler inserts communication:
with `fsdp` parameters are gathered where they are used and gradients scattered (ZeRO, stage 3,
arXiv:1910.02054); with a `tensor` layout the two layers of an MLP are split by their hidden units
(Megatron-LM, arXiv:1909.08053), which needs a single all-reduce.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mlp_core.config import ShardingConfig, ShardingRule
from mlp_core.distributed.mesh import DATA, MODEL, replicated
from mlp_core.errors import UserError
from mlp_core.nn.name_patterns import check_matches
from mlp_core.nn.parameters import flatten
from mlp_core.nn.stack import is_stacked

# Scalars in the smallest array that fsdp shards; gathering smaller ones costs more than it saves.
LEAST_TO_SPLIT = 2**12

FIELD = "config.sharding"


def divisible_size() -> int:
    """A placeholder for an unknown size that every sharding over these devices accepts."""
    return LEAST_TO_SPLIT * jax.device_count()


class ParameterPlacement:
    """The sharding of each parameter of a model, by its name and shape."""

    def __init__(self, config: ShardingConfig, tensor_parallel: Sequence[str], mesh: Mesh):
        """`tensor_parallel`: the model's own rules for layout `tensor`, in the config's syntax.

        Raises:
            UserError: `model_parallel` is above 1 but nothing is split, or vice versa.
        """
        self._rules = config.rules
        self._model_rules = [ShardingRule.parse(text) for text in tensor_parallel]
        self.mesh = mesh
        self._is_tensor = "tensor" in config.layout
        self._is_fsdp = "fsdp" in config.layout
        named = {axis for rule in config.rules for axis in rule.placement if axis == MODEL}
        if config.model_parallel > 1 and not self._is_tensor and not named:
            raise UserError(
                f"{FIELD}.model_parallel: {config.model_parallel} devices share a model of which "
                f"nothing is split among them; set {FIELD}.layout=tensor."
            )
        if self._is_tensor and config.model_parallel == 1:
            raise UserError(
                f"{FIELD}.layout: {config.layout} splits each layer over the devices that share a "
                f"model; set {FIELD}.model_parallel to how many they are, 2 or more."
            )

    def check(self, params: Mapping[str, Any]) -> None:
        """Checks the rules against a model's parameters.

        Args:
          params: arrays or their shapes, by name.

        Raises:
            UserError: a rule matches no parameter, or an axis does not divide a dimension.
        """
        for rule in self._rules:
            check_matches(f"{FIELD}.rules: {rule.pattern!r}", rule.pattern, params)
            matched = [name for name in params if re.fullmatch(rule.pattern, name)]
            splits = (self._split_by_fsdp(_block_shape(n, params[n].shape), ()) for n in matched)
            if rule.placement == "fsdp" and not any(splits):
                raise UserError(
                    f"{FIELD}.rules: '{rule.pattern}=fsdp' splits nothing: no dimension of "
                    f"{matched[0]!r} {params[matched[0]].shape}, say, divides by "
                    f"{self.mesh.shape[DATA]} devices, or it has fewer than {LEAST_TO_SPLIT:,} "
                    "scalars."
                )
        for name, leaf in params.items():
            self.spec(name, leaf.shape)

    def spec(self, name: str, shape: tuple[int, ...]) -> PartitionSpec:
        """Returns the mesh axes over which each dimension of a parameter is split.

        For stacked blocks, rules and sizes are those of a single block.

        Raises:
            UserError: there are more axes than dimensions, or one does not divide its dimension.
        """
        spec = self._spec_in_block(name, _block_shape(name, shape))
        return PartitionSpec(None, *spec) if is_stacked(name) else spec

    def _spec_in_block(self, name: str, shape: tuple[int, ...]) -> PartitionSpec:
        rule = _first_match(self._rules, name)
        if rule is not None:
            return self._spec_of(rule, name, shape)
        axes: tuple[str | None, ...] = ()
        if self._is_tensor and (rule := _first_match(self._model_rules, name)):
            axes = self._checked(rule, name, shape)
        if self._is_fsdp:
            axes = self._split_by_fsdp(shape, axes) or axes
        return PartitionSpec(*axes)

    def _spec_of(self, rule: ShardingRule, name: str, shape: tuple[int, ...]) -> PartitionSpec:
        if rule.placement == "replicated":
            return PartitionSpec()
        if rule.placement == "fsdp":
            return PartitionSpec(*self._split_by_fsdp(shape, ()))
        return PartitionSpec(*self._checked(rule, name, shape))

    def _checked(
        self, rule: ShardingRule, name: str, shape: tuple[int, ...]
    ) -> tuple[str | None, ...]:
        """The axes that a rule names, checked against a shape."""
        axes = rule.placement
        text = ",".join(axis or "-" for axis in axes)
        if len(axes) > len(shape):
            raise UserError(
                f"{FIELD}.rules: '{rule.pattern}={text}' names {len(axes)} dimensions, but "
                f"{name!r} {shape} has {len(shape)}."
            )
        for dimension, axis in zip(shape, axes, strict=False):
            if axis and dimension % self.mesh.shape[axis]:
                raise UserError(
                    f"{FIELD}: '{rule.pattern}={text}' does not fit {name!r} {shape}: "
                    f"{self.mesh.shape[axis]} devices along '{axis}' do not divide {dimension}; "
                    f"leave it whole with {FIELD}.rules=\"('{re.escape(name)}=replicated',)\"."
                )
        return axes

    def _split_by_fsdp(
        self, shape: tuple[int, ...], axes: tuple[str | None, ...]
    ) -> tuple[str | None, ...]:
        """`axes` with the largest free, divisible dimension split over `data`; () if none is."""
        parts = self.mesh.shape[DATA]
        axes = [*axes, *[None] * (len(shape) - len(axes))]
        free = [i for i, axis in enumerate(axes) if axis is None and shape[i] % parts == 0]
        if not free or math.prod(shape) < LEAST_TO_SPLIT:
            return ()
        axes[max(free, key=lambda i: shape[i])] = DATA
        return tuple(axes)


def state_shardings(state: Any, params: Mapping[str, Any], placement: ParameterPlacement) -> Any:
    """Returns the shardings of a training state, as a tree of the same structure.

    Args:
      state: shapes of the training state.
      params: shapes of its parameters; a leaf that ends in a parameter's name and has its shape,
        such as its momentum, is sharded like it, and all others are replicated.
      placement: the sharding of parameters.
    """
    shapes = {name: leaf.shape for name, leaf in flatten(params).items()}

    def sharding(path: tuple, leaf: Any) -> NamedSharding:
        parts = [str(getattr(key, "key", getattr(key, "name", key))) for key in path]
        for start in range(len(parts)):
            name = "/".join(parts[start:])
            if shapes.get(name) == leaf.shape:
                return NamedSharding(placement.mesh, placement.spec(name, leaf.shape))
        return replicated(placement.mesh)

    return jax.tree_util.tree_map_with_path(sharding, state)


def _block_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a parameter, without the leading axis of stacked blocks."""
    return shape[1:] if is_stacked(name) else shape


def _first_match(rules: Sequence[ShardingRule], name: str) -> ShardingRule | None:
    return next((rule for rule in rules if re.fullmatch(rule.pattern, name)), None)

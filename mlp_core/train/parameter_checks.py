"""What a configuration says of parameters by their names, beside the parameters that there are."""

from collections.abc import Mapping, Sequence
from typing import Any

from jax.sharding import Mesh

from mlp_core.config import RunConfig
from mlp_core.distributed.mesh import make_mesh
from mlp_core.distributed.sharding import ParameterPlacement
from mlp_core.train.optimizer import check_weight_decay
from mlp_core.train.rate_factors import check_rate_factors


def check_parameters(
    settings: RunConfig,
    params: Mapping[str, Any],
    tensor_parallel: Sequence[str],
    mesh: Mesh | None = None,
) -> ParameterPlacement:
    """Refuses patterns that match no parameter, and a sharding that does not fit.

    Args:
      settings: the experiment.
      params: what has the parameters' shapes, by name.
      tensor_parallel: see `Task`.
      mesh: where they are to lie; by default all devices there are.

    Returns where each of them lies.

    Raises:
        UserError: names the field.
    """
    check_weight_decay(settings.optimizer, params)
    check_rate_factors(settings.optimizer, params)
    mesh = mesh or make_mesh(settings.sharding.model_parallel)
    placement = ParameterPlacement(settings.sharding, tensor_parallel, mesh)
    placement.check(params)
    return placement

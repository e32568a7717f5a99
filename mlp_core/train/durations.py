"""A run's durations, converted to optimizer steps."""

import dataclasses

from mlp_core.config import MOST_STEPS, RunConfig
from mlp_core.errors import UserError


@dataclasses.dataclass(frozen=True)
class Plan:
    """A run's durations, in steps."""

    total: int
    warmup: int
    evaluate_every: int
    save_every: int
    report_every: int

    @classmethod
    def of(cls, config: RunConfig, num_examples: int) -> "Plan":
        """Converts the durations of `config` for a training set of `num_examples`.

        Raises:
            UserError: the run has more steps than the step counter can hold.
        """

        def steps(duration):
            return duration.steps(num_examples, config.train.global_batch_size)

        total = steps(config.train.duration)
        if total > MOST_STEPS:
            raise UserError(
                f"config.train.duration: {total:,} steps are too many; at most {MOST_STEPS:,}."
            )
        return cls(
            total=total,
            warmup=steps(config.schedule.warmup),
            evaluate_every=steps(config.evaluation.every),
            save_every=steps(config.checkpoint.every),
            report_every=steps(config.log.every),
        )

    def is_due(self, step: int, every: int) -> bool:
        """Whether something done every `every` steps, and at the end, is due at `step`."""
        return step == self.total or (every > 0 and step % every == 0)

    def times_due(self, step: int, every: int) -> int:
        """How many times something with that period is due after `step`, including the end."""
        if step >= self.total:
            return 0
        before_the_end = (self.total - 1) // every - step // every if every > 0 else 0
        return before_the_end + 1

"""A trace of a run's first training steps after warm-up: what host and device do, and when."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import jax

from mlp_core.process.console import say

WARM_UP, TRACED = 10, 10  # Steps.


class StepTrace:
    """Traces a few steps on the first host; a run that is too short, from its middle on."""

    def __init__(self, folder: Path | None, first_step: int, last_step: int):
        """Nothing is written yet.

        Args:
          folder: where the trace goes; None: there is to be none.
          first_step: the step that the run begins with, from 0.
          last_step: where it ends.
        """
        self._folder = folder if jax.process_index() == 0 else None
        self._first = first_step + min(WARM_UP, (last_step - first_step) // 2)
        self._last = min(self._first + TRACED, last_step) - 1
        self._is_open = False

    def step(self, number: int) -> AbstractContextManager[Any]:
        """What encloses the start of step `number`, from 0."""
        if self._folder and number == self._first:
            jax.profiler.start_trace(self._folder)
            self._is_open = True
        if not self._is_open:
            return nullcontext()
        return jax.profiler.StepTraceAnnotation("train", step_num=number)

    def after(self, number: int, state: Any) -> None:
        """Waits for the `state` of the last step that is traced, and ends the trace."""
        if self._is_open and number == self._last:
            jax.block_until_ready(state)
            self.close()

    def close(self) -> None:
        """Writes what has been traced, if anything has."""
        if self._is_open:
            self._is_open = False
            jax.profiler.stop_trace()
            say(
                f"Trace from step {self._first + 1:,} on: {self._folder}/plugins/profile (pip "
                "install xprof; xprof --logdir=..., or a .trace.json.gz in ui.perfetto.dev)"
            )

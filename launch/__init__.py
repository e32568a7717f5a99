"""Commands."""

import os
import sys

from mlp_core.process import preemption

# A command handles signals from its first import on; whoever imports it keeps their own handlers.
_program = getattr(sys.modules["__main__"], "__file__", None)
if _program and os.path.dirname(os.path.realpath(_program)) == os.path.realpath(__path__[0]):
    preemption.listen()

"""Commands."""

import os
import sys

from mlp_core import preemption

# A command handles signals from its first import on; whoever imports it keeps their own handlers.
if os.path.dirname(os.path.abspath(getattr(sys.modules["__main__"], "__file__", ""))) in __path__:
    preemption.listen()

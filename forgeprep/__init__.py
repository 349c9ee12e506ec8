"""forgeprep: raw face-forgery datasets in, verified training shards out.

Where things are; each part imports from those below it (ARCHITECTURE.md has the picture):

- ``cli``, ``commands``: the command line; all that is printed is printed there.
- ``report``: the page and the sheets. ``training``: forgery models, and how they are trained, judged and used.
- ``export``: runs as other programs read them. ``splice``: clips forged in spans. ``demo``: the demo dataset.
- ``pipeline``: plan, make one shard, executors, resume, index.
- ``datasets``: one file a dataset. ``stages``: one file a stage; ``params``: their parameters. ``shards``: the files of
  a run, written, read and verified.
- ``faces``: detectors, search and tracks. ``ops``: arithmetic on arrays. ``media``: decoding and encoding.
- ``io``: paths here and remote, whole writes, the lock. ``schemas``: columns and configuration, as data.
- ``reader``, ``torch``: a run's samples for other trainers, in one line: ``forgeprep.load(out)`` and
  ``forgeprep.torch.Samples(out, split)``.
- ``registry``: what other packages add. ``errors``: every error.

In Python: :func:`forgeprep.pipeline.run.prepare_run` and :func:`forgeprep.pipeline.run.execute` make shards,
:func:`forgeprep.shards.read.iter_rows` reads them, :func:`forgeprep.training.trainer.train` trains on them.
"""

import importlib
import os
from typing import Any

__version__ = "0.1.0"

# From 1.29 on ONNX Runtime else sends Microsoft what it runs; read once, when it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> Any:
    """``load`` and ``torch`` are imported when they are asked for: the command line starts without them."""
    if name == "load":
        return importlib.import_module("forgeprep.reader").load
    if name == "torch":
        return importlib.import_module("forgeprep.torch")
    raise AttributeError(f"module 'forgeprep' has no attribute {name!r}")

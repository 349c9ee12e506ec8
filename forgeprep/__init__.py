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
- ``registry``: what other packages add. ``errors``: every error.

In Python: :func:`forgeprep.pipeline.run.prepare_run` and :func:`forgeprep.pipeline.run.execute` make shards,
:func:`forgeprep.shards.read.iter_rows` reads them, :func:`forgeprep.training.trainer.train` trains on them.
"""

__version__ = "0.1.0"

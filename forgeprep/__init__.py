"""forgeprep: raw face-forgery datasets in, verified training shards out.

Where things are; each part imports from those below it:

- ``cli``, ``commands``: the command line; all that is printed is printed there. ``report``: the page and the sheets.
- ``training``: detectors, and how they are trained, judged and used. Reads shards and nothing else.
- ``pipeline``: plan, run, retry, and Ray (``on_ray``, the only module of a run that knows it).
- ``stages``: what is done to a source group's clips; ``params``: their parameters. ``datasets``: one adapter a dataset.
  Both can be added to from outside, see the README. ``demo``: the demo dataset. ``splice``: clips forged in spans, made
  of a dataset.
- ``shards``: the files of a run, written, read and verified.
- ``ops``: the methods themselves, on arrays and video files. ``schemas``: columns and configuration, as data.
- ``storage``, ``settings``, ``errors``: paths here and remote, YAML from users, every error.

In Python: :func:`forgeprep.pipeline.run.prepare_run` and :func:`forgeprep.pipeline.run.execute` make shards,
:func:`forgeprep.shards.read.iter_rows` reads them, :func:`forgeprep.training.trainer.train` trains on them.
"""

__version__ = "0.1.0"

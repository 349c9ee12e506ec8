"""Who does the work: this process, or Ray's workers. Both take the same jobs and tell the same of them.

A job (:mod:`forgeprep.pipeline.executors.job`) is a piece of work with a name; neither executor knows what it makes.
"""

"""Files: local and remote paths, whole writes, safe reads, and the lock of a run."""

"""Train, evaluate and use the field's reference detectors on forgeprep's shards; needs the extra ``train``."""

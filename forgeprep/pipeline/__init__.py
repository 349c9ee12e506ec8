"""Plan, make one shard, run many, index. Knows no dataset and no stage by name."""

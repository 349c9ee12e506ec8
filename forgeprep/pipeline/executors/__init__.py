"""Where shards are made: in this process, or as Ray tasks."""

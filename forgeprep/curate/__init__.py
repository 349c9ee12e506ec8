"""Runs that are made of the shards of other runs: merged, chosen from, packed again, or without some samples.

It is a room of its own, since it needs plans and records like the pipeline, and knows no dataset, no stage and no
executor. Each command says which rows go into which shard (:mod:`.merge`, :mod:`.select`, :mod:`.reshard`); one core
(:mod:`.write`, :mod:`.in_place`) makes a whole run of that.
"""

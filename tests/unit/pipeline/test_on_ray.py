"""What a shard's task asks Ray for."""

from __future__ import annotations

from forgeprep.pipeline.configure import make_config
from forgeprep.pipeline.executors.ray import request
from forgeprep.pipeline.make_shard import resources_of


def test_tasks_ask_for_what_their_stages_need() -> None:
    configs = (make_config("ffpp", {"stages": "crop", "detector": d}) for d in ("dlib-hog", "face-alignment"))
    plain, learned = map(resources_of, configs)
    assert request(plain, {"GPU": 8}, on_cluster=False) == {"num_cpus": 1}
    assert request(plain, {"GPU": 8}, on_cluster=True) == {"num_cpus": 1, "memory": 1 << 30}
    assert request(learned, {"GPU": 8}, on_cluster=True) == {
        "num_cpus": 1,
        "num_gpus": 0.25,
        "memory": 3 << 30,
    }
    assert request(learned, {"CPU": 8}, on_cluster=False) == {"num_cpus": 1}

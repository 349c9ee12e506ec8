"""Which processes Ray starts on this machine beside its workers: those that a run needs, and no others.

Imported before all else: nothing heavy may be imported here but where it is used.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

_OTHERS = ("start_api_server", "start_monitor", "start_log_monitor")
_PORTS = {
    "METRICS_AGENT_PORT_NAME": -1,  # "There is none", as Ray writes it.
    "METRICS_EXPORT_PORT_NAME": -1,
    "DASHBOARD_AGENT_LISTEN_PORT_NAME": -1,
    "RUNTIME_ENV_AGENT_PORT_NAME": 9,  # One has to be told; nothing listens there.
}
"""Ray's names of the ports that its node waits for, and what it is told."""


@contextlib.contextmanager
def fewer_processes(*, agents: bool) -> Iterator[None]:
    """Inside, Ray starts here without its dashboard, its autoscaler and what passes logs on: no run asks them anything.

    Without ``agents``, also without the two that serve the dashboard and environments of packages: a node waits for
    both before it lets a worker begin. Each is an interpreter that takes up to a CPU second as it starts, and memory,
    and no setting of Ray's leaves it out. Where another release calls one otherwise, it is started as ever.
    """
    from ray._private import services
    from ray._private.node import Node

    start = services.start_ray_process

    def started(command: Sequence[str], kind: str, *rest: Any, **more: Any) -> Any:
        return start(_without_agents(command) if kind == "raylet" else command, kind, *rest, **more)

    changes: list[tuple[Any, str, Any]] = [(Node, name, lambda *_, **__: None) for name in _OTHERS]
    if not agents and not _wants_environments():
        changes.append((services, "start_ray_process", started))
    before = [(where, name, getattr(where, name)) for where, name, _ in changes if hasattr(where, name)]
    for where, name, instead in changes:
        if hasattr(where, name):
            setattr(where, name, instead)
    try:
        yield
    finally:
        for where, name, as_ever in before:
            setattr(where, name, as_ever)


def _wants_environments() -> bool:
    """Whether the user's settings may ask for environments of packages, which an agent makes."""
    if os.environ.get("RAY_ENABLE_UV_RUN_RUNTIME_ENV") != "0":
        return True
    return any(name.startswith(("RAY_RUNTIME_ENV", "RAY_JOB_CONFIG")) for name in os.environ)


def _without_agents(command: Sequence[str]) -> list[str]:
    """How a node is started that has no agents.

    It insists on two commands and ends when one of them does: ``cat`` waits for as long as the node lives. Their ports
    are told in files.
    """
    from ray import _raylet

    native: Any = _raylet
    words = list(command)
    flags = dict(word.split("=", 1) for word in words if word.startswith("--") and "=" in word)
    cat = shutil.which("cat")
    known = {"--session_dir", "--node_id", "--dashboard_agent_command", "--runtime_env_agent_command"} <= set(flags)
    if cat is None or not known or not all(hasattr(native, name) for name in ("persist_port", *_PORTS)):
        return words
    for name, port in _PORTS.items():
        native.persist_port(flags["--session_dir"], flags["--node_id"], getattr(native, name), port)
    return [
        f"{word.split('=', 1)[0]}={cat}" if word.startswith(("--dashboard_agent_c", "--runtime_env_agent_c")) else word
        for word in words
    ]

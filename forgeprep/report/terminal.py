"""Where all commands print."""

from __future__ import annotations

from rich.console import Console

console = Console(soft_wrap=True, highlight=False)

"""The catalogue of perturbations in words."""

from __future__ import annotations

from forgeprep.ops.perturb.catalogue import CATALOGUE, Perturbation


def markdown_rows() -> list[str]:
    """The catalogue as lines of a Markdown table."""
    head = ["| group | name | what it does | severity 1, 2, 3, 4, 5 |", "|---|---|---|---|"]
    return head + [
        f"| {entry.group} | `{entry.name}` | {entry.summary} | {levels_text(entry)} |" for entry in CATALOGUE.values()
    ]


def levels_text(entry: Perturbation) -> str:
    """The parameters at severity 1 to 5, in words; one that is the same at all is said once."""
    parts = []
    for name, values in entry.levels.items():
        shown = values[:1] if len(set(values)) == 1 else values
        parts.append(f"{name} {', '.join(f'{value:g}' for value in shown)}")
    return "; ".join(parts)

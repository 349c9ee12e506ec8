"""The catalogue of perturbations as a table, and the section of the report that counts those of a run."""

from __future__ import annotations

from collections import Counter

from forgeprep.ops.perturb.catalogue import CATALOGUE, SEVERITIES, Perturbation
from forgeprep.report.html import Markup, join, table, tag
from forgeprep.report.terminal import add_cells, console, light_table


def print_perturbations() -> None:
    """``forgeprep perturbations``."""
    listed = light_table("perturbations", ["group", "name"], [], ["what it does", "severity 1 to 5"])
    for entry in CATALOGUE.values():
        add_cells(listed, entry.group, entry.name, entry.summary, levels_text(entry))
    console.print(listed)


def markdown_rows() -> list[str]:
    """The same as lines of a Markdown table."""
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


def perturbations(counts: Counter[tuple[int, str | None]]) -> Markup:
    """How many samples got what; ``counts`` are those of :class:`forgeprep.report.measure.Measures`."""
    rows: list[list[str]] = []
    for name in sorted({name.partition(":")[0] for _, name in counts if name}):
        own = [[counts[label, f"{name}:{severity}"] for severity in SEVERITIES] for label in (0, 1)]
        by_severity = [sum(pair) for pair in zip(*own, strict=True)]
        rows.append([name, *(f"{n:,}" for n in (*by_severity, sum(own[0]), sum(own[1])))])
    clean = [counts[label, None] for label in (0, 1)]
    rows.append(["clean", *([""] * len(SEVERITIES)), *(f"{n:,}" for n in clean)])
    note = (
        "Samples that each perturbation was applied to, alone or in a mixture: a mixture counts once for each of its "
        "parts. Masks were made before, noise residuals after it."
    )
    heads = ["perturbation", *(f">severity {severity}" for severity in SEVERITIES), ">reals", ">fakes"]
    return join([tag("p", note), table("perturbations-table", "samples", heads, rows)])

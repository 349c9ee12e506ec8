"""Fill the templates of the report. Every value is escaped: names of files and methods may hold anything."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from forgeprep.report.charts import CHARTS
from forgeprep.report.tables import Link
from forgeprep.text import counted

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **facts: object) -> str:
    """A template of ``forgeprep/report/templates``, filled with facts.

    Raises:
        jinja2.UndefinedError: the template asks for a fact that is not there.
    """
    return _environment().get_template(template).render(**facts)


def source(name: str) -> str:
    """A style or script of ``forgeprep/report/templates`` as it stands."""
    return files("forgeprep.report").joinpath("templates", name).read_text(encoding="utf-8")


def policy_hash(text: str) -> str:
    """What a content security policy calls exactly this style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def data_uri(data: bytes) -> str:
    """A PNG or JPEG as an address that holds the picture itself."""
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


@cache
def _environment() -> Environment:
    # Imported here: commands that write no page start without it.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("forgeprep.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["data_uri"] = data_uri
    made.filters["thousands"] = "{:,}".format
    made.filters["counted"] = counted
    made.filters["policy_hash"] = policy_hash
    made.tests["link"] = lambda value: isinstance(value, Link)
    made.tests["chart"] = lambda value: isinstance(value, CHARTS)
    return made

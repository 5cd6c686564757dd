"""Sphinx: pages in MyST; the reference of the settings is written from their models."""

from __future__ import annotations

import inspect
import typing as t
from pathlib import Path

from aiida_pace import __version__, config

if t.TYPE_CHECKING:
    from sphinx.application import Sphinx

project = 'aiida-pace'
author = 'The aiida-pace developers'
release = __version__

extensions = ['myst_parser']
exclude_patterns = ['_build']
html_theme = 'furo'
html_title = f'aiida-pace {release}'
myst_heading_anchors = 2


def settings_page() -> str:
    """Return a page with a table of the fields of every model of `aiida_pace.config`."""
    lines = ['# Settings', '', 'What a `Dict` among the inputs may hold, by the model that its port names.']
    for name in config.__all__:
        model = getattr(config, name)
        if not (inspect.isclass(model) and hasattr(model, 'model_fields')) or not model.model_fields:
            continue
        summary = inspect.cleandoc(model.__doc__).splitlines()[0]
        lines += ['', f'## {name}', '', summary, '', '| setting | default | meaning |', '|---|---|---|']
        for field, info in model.model_fields.items():
            default = 'required' if info.is_required() else f'`{info.get_default(call_default_factory=True)!r}`'
            lines.append(f'| `{field}` | {default} | {(info.description or "").replace("|", " ")} |')
    return '\n'.join([*lines, ''])


def setup(_: Sphinx) -> None:
    """Write the page before the others are read."""
    Path(__file__).with_name('reference').joinpath('settings.md').write_text(settings_page(), encoding='utf8')

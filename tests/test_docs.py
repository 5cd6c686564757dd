"""The pages of the documentation: their Python runs."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

from aiida_pace.frames import Frames

HOWTO = Path(__file__).parents[1] / 'docs' / 'howto'


def test_python_of_the_page_on_the_initial_set_runs() -> None:
    blocks = re.findall(r'```python\n(.*?)```', (HOWTO / 'initial_set.md').read_text(encoding='utf8'), re.DOTALL)
    names: dict[str, t.Any] = {}
    exec(blocks[0], names)
    frames: Frames = names['frames']
    assert (len(frames), frames.elements) == (40, ['Al', 'Si'])
    exec('\n'.join(blocks[1:]), names)
    assert len(names['first']) == 1
    assert {len(atoms) > 8 for atoms in names['large']} == {True}
    assert (len(names['frames']), names['frames'].elements) == (20, ['Al'])
    assert {str(origin) for origin in names['frames'].origin} > {'isolated_atom', 'user'}

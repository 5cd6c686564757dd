"""Parts shared by the command lines of the engines, where they need no engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from aiida_pace.engines import select, swarm


@pytest.mark.parametrize(
    ('main', 'arguments', 'message'),
    [
        (select.main, ['--max-frames', '0'], 'argument --max-frames: 0 is below 1'),
        (select.main, ['--max-frames', 'all'], "argument --max-frames: invalid integer value: 'all'"),
        (swarm.main, ['--settings', 'settings.json', '--seed', '-1'], 'argument --seed: -1 is below 0'),
    ],
)
def test_numbers_out_of_range_are_refused(
    main: Callable[[Sequence[str]], int], arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match='2'):
        main(['frames.npz', 'potential.yaml', *arguments])
    assert message in capsys.readouterr().err

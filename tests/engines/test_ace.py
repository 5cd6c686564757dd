"""The evaluator of pyace, where it needs no pyace: the check of active sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aiida_pace.engines.ace import EvaluationError, _check_active_set


def test_active_set_that_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / 'active_set.asi'
    with path.open('wb') as handle:
        np.savez(handle, Si=np.eye(20))
    _check_active_set(path, {'Si': 20})
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(EvaluationError, match='cannot read the active set'):
        _check_active_set(path, {'Si': 20})

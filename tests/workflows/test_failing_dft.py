"""A campaign whose DFT breaks down now and then."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import CalculationFactory, WorkflowFactory

from aiida_pace.calculations.functions.labels import OUTCOMES
from aiida_pace.workflows.graph import children
from tests.fixtures.loop import BuilderOf

ActiveLearningWorkChain = WorkflowFactory('pace.active_learning')

pytestmark = [pytest.mark.engines, pytest.mark.slow, pytest.mark.usefixtures('aiida_profile_clean')]

#: The real pw.x, but for every fifth run: no pw.x can be made to fail so often on sound input. By turns it says nothing
#: at all, as on a broken node, and loses the end of its output, as on a full disk. The isolated atom, the only one with
#: spin, fails once.
FLAKY = """#!/bin/bash
if grep -q nspin aiida.in; then
    if [ -e {counter}.atom ]; then exec {pw} "$@"; fi
    touch {counter}.atom; exit 1
fi
exec 9>{counter}.lock; flock 9
run=$(($(cat {counter} 2>/dev/null || echo 0) + 1)); echo $run > {counter}
flock -u 9; exec 9>&-
case $((run % 10)) in
    5) exit 1 ;;
    0) {pw} "$@" > whole.out; head -n 60 whole.out ;;
    *) exec {pw} "$@" ;;
esac
"""


def test_every_fifth_run_fails(
    builder_of: BuilderOf, aiida_code_installed: Callable[..., orm.InstalledCode], tmp_path: Path
) -> None:
    """The campaign comes to its end, every frame is accounted for, and the causes of the failures are named."""
    counter, wrapper = tmp_path / 'runs', tmp_path / 'pw.sh'
    wrapper.write_text(FLAKY.format(counter=counter, pw=shutil.which('pw.x')))
    wrapper.chmod(0o755)
    builder = builder_of({'stop': {'max_cycles': 1, 'quiet_rounds': 1}})
    builder.label.pw.pw.code = aiida_code_installed(
        label='flaky', default_calc_job_plugin='quantumespresso.pw', filepath_executable=str(wrapper)
    )
    results, node = run_get_node(builder)
    assert node.exit_status in (0, ActiveLearningWorkChain.exit_codes.ERROR_CONVERGENCE_NOT_REACHED.status)
    assert {'potential', 'active_set', 'datasets', 'history'} <= set(results)

    accounts = [step.outputs.output_parameters for label, step in children(node).items() if label.endswith('_label')]
    total: Counter[str] = Counter()
    causes: Counter[str] = Counter()
    for account in accounts:
        assert account['requested'] == sum(account[outcome] for outcome in OUTCOMES)
        total.update({name: account[name] for name in ('requested', *OUTCOMES)})
        causes.update({cause: len(frames) for cause, frames in account['failures'].items()})
    runs = int(counter.read_text())
    # Without the atom there is no fit at all: it was tried again.
    assert runs + 2 == orm.QueryBuilder().append(CalculationFactory('quantumespresso.pw')).count()
    assert total['failed'] == runs // 5 >= 2
    assert total['labelled'] == sum(
        dataset.count for name in ('datasets', 'audits') for dataset in results.get(name, {}).values()
    )
    assert total['requested'] == total['labelled'] + total['failed'] + total['rejected']
    assert sum(causes.values()) == total['failed']
    assert len(causes) == 2, causes
    print(dict(total), dict(causes))

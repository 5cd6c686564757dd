"""Parser of `pace.train`: recorded outputs of pacemaker, whole, cut short and broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import ExitCode

from aiida_pace.calculations.train import PaceTrainCalculation
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.data.potential import AcePotentialData
from tests.fixtures.jobs import parse
from tests.fixtures.nodes import posterior_bytes
from tests.fixtures.training import silicon_frames

RECORDED = Path(__file__).parent / 'train'
LOGS = Path(__file__).parents[1] / 'formats' / 'pacemaker'

Parsed = tuple[dict[str, orm.Data], ExitCode]
Parse = Callable[..., Parsed]

POTENTIAL = 'output_potential.yaml'
POSTERIOR = 'output_potential.posterior.npz'
INTERIM = 'interim_potential_0.yaml'
LOG = (LOGS / 'log.txt').read_text()
METRICS = (LOGS / 'metrics.txt').read_text()
#: The log of a fit that was killed after its last iteration.
UNFINISHED = LOG[: LOG.index('Optimization result')]


@pytest.fixture
def parsed(aiida_localhost: orm.Computer, tmp_path: Path) -> Parse:
    """Return a factory of what the parser makes of retrieved texts and of files that are not kept."""
    dataset = AtomsDatasetData(silicon_frames(4)).store()

    def factory(
        log: str = LOG,
        metrics: str = METRICS,
        output: str = '',
        files: dict[str, bytes] | None = None,
        evaluator: str = 'tensorpot',
        **inputs: orm.Data,
    ) -> Parsed:
        for name, content in (recorded(POTENTIAL, INTERIM) if files is None else files).items():
            (tmp_path / name).write_bytes(content)
        retrieved = {'log.txt': log, 'metrics.txt': metrics, 'pacemaker.out': output}
        return parse(
            'pace.train',
            aiida_localhost,
            inputs={'datasets__a': dataset, 'parameters': orm.Dict({'evaluator': evaluator}).store(), **inputs},
            retrieved={name: text.encode() for name, text in retrieved.items() if text},
            temporary=tmp_path,
        )

    return factory


def recorded(*names: str) -> dict[str, bytes]:
    return {name: (RECORDED / name).read_bytes() for name in names}


def status(name: str) -> int:
    return int(PaceTrainCalculation.exit_codes[name].status)


@pytest.mark.usefixtures('aiida_profile_clean')
class TestPaceTrainParser:
    def test_a_whole_fit(self, parsed: Parse) -> None:
        outputs, code = parsed()
        assert code.status == 0
        assert outputs['potential'].functions_per_element == {'Si': 20}
        assert outputs['potential'].reference_energies == {'Si': -100.0}
        parameters = outputs['output_parameters'].get_dict()
        assert parameters['iterations'] == 20
        assert parameters['evaluations'] == 27
        assert not parameters['converged']
        assert parameters['rmse_f_comp'] == pytest.approx(0.2283088203144897)
        assert parameters['rmse_f_comp_weighted'] == pytest.approx(0.2283088203144897)  # the weights were uniform
        assert parameters['rmse_epa_weighted'] == pytest.approx(0.1683315126446033)
        assert parameters['wall_time_seconds'] == 15
        assert outputs['learning_curve'].get_array('loss')[0] == 30.922375418778653
        assert not [name for name in outputs['learning_curve'].get_arraynames() if name.startswith('test_')]

    def test_a_fit_cut_short_leaves_its_interim_potential(self, parsed: Parse) -> None:
        outputs, code = parsed(UNFINISHED, files=recorded(INTERIM))
        assert code.status == status('ERROR_FIT_INTERRUPTED')
        assert 'interrupted after 20 iterations: continue from the output `potential`' in code.message
        assert outputs['potential'].functions_per_element == {'Si': 20}
        assert not outputs['output_parameters']['converged']
        assert len(outputs['learning_curve'].get_array('loss')) == 21

    def test_a_fit_killed_before_it_saved_its_potential_counts_as_cut_short(self, parsed: Parse) -> None:
        outputs, code = parsed(files=recorded(INTERIM))
        assert code.status == status('ERROR_FIT_INTERRUPTED')
        assert 'potential' in outputs

    def test_an_interrupt_from_the_keyboard_is_no_failure(self, parsed: Parse) -> None:
        output = 'Traceback (most recent call last):\n  File "fit.py"\nKeyboardInterrupt\n'
        _, code = parsed(UNFINISHED, output=output, files=recorded(INTERIM))
        assert code.status == status('ERROR_FIT_INTERRUPTED')

    @pytest.mark.parametrize('end', [-40, None], ids=['in a line', 'at the end of a line'])
    def test_an_interim_potential_cut_short_is_not_used(self, parsed: Parse, end: int | None) -> None:
        content = recorded(INTERIM)[INTERIM]
        content = content[:end] if end else content.rstrip().rpartition(b'\n')[0] + b'\n'
        outputs, code = parsed(UNFINISHED, output='slurmstepd: CANCELLED DUE TO TIME LIMIT', files={INTERIM: content})
        assert code.status == status('ERROR_FIT_NOT_STARTED')
        assert 'CANCELLED DUE TO TIME LIMIT' in code.message
        assert outputs == {}

    def test_a_fit_killed_before_its_first_iteration(self, parsed: Parse) -> None:
        _, code = parsed(UNFINISHED, METRICS.splitlines()[0], output='Killed', files={})
        assert code.status == status('ERROR_FIT_NOT_STARTED')

    def test_a_failed_fit_says_why(self, parsed: Parse) -> None:
        output = (RECORDED / 'unknown_evaluator.out').read_text()
        outputs, code = parsed(output, METRICS.splitlines()[0], output=output, files={})
        assert code.status == status('ERROR_FIT_FAILED')
        assert "Unknown evaluator type 'linear'" in code.message
        assert outputs == {}

    def test_nothing_came_back(self, parsed: Parse) -> None:
        _, code = parsed('', '', output='bash: pacemaker: command not found', files={})
        assert code.status == status('ERROR_LOG_MISSING')
        assert 'command not found' in code.message

    def test_a_potential_that_lacks_functions(self, parsed: Parse) -> None:
        content = recorded(POTENTIAL)[POTENTIAL].rstrip().rpartition(b'\n')[0]
        outputs, code = parsed(files={POTENTIAL: content})
        assert code.status == status('ERROR_POTENTIAL_UNUSABLE')
        assert 'it holds 19 functions, the fit had 20' in code.message
        assert outputs == {}

    def test_a_loss_that_is_not_finite(self, parsed: Parse) -> None:
        outputs, code = parsed(metrics=METRICS.replace('0.06674744297356794', 'nan'))
        assert code.status == status('ERROR_METRICS_UNUSABLE')
        assert outputs == {}

    @pytest.mark.parametrize('content', [None, b'elements: [Al]\n'], ids=['missing', 'of another element'])
    def test_without_the_yace_there_is_a_potential_all_the_same(
        self, parsed: Parse, aiida_code_installed: Callable[..., orm.InstalledCode], content: bytes | None
    ) -> None:
        files = recorded(POTENTIAL) | ({'output_potential.yace': content} if content else {})
        outputs, code = parsed(files=files, yace_code=aiida_code_installed(filepath_executable='/bin/true').store())
        assert code.status == status('ERROR_YACE_MISSING')
        assert not outputs['potential'].has_yace

    def test_a_linear_fit_has_a_posterior(self, parsed: Parse) -> None:
        files = recorded(POTENTIAL)
        digest = AcePotentialData(files[POTENTIAL]).digest
        outputs, code = parsed(files=files | {POSTERIOR: posterior_bytes(digest, Si=20)}, evaluator='linear')
        assert code.status == 0
        assert outputs['posterior'].matches(outputs['potential'])

    def test_other_fits_have_none(self, parsed: Parse) -> None:
        files = recorded(POTENTIAL) | {POSTERIOR: b'left by something else'}
        outputs, code = parsed(files=files)
        assert code.status == 0
        assert 'posterior' not in outputs

    @pytest.mark.parametrize(
        ('content', 'detail'),
        [
            (None, 'the code wrote none'),
            (b'text', 'not a posterior'),
            (posterior_bytes('other', Si=20), 'belongs to another potential'),
        ],
    )
    def test_without_its_posterior_there_is_a_potential_all_the_same(
        self, parsed: Parse, content: bytes | None, detail: str
    ) -> None:
        files = recorded(POTENTIAL) | ({POSTERIOR: content} if content else {})
        outputs, code = parsed(files=files, evaluator='linear')
        assert code.status == status('ERROR_POSTERIOR_MISSING')
        assert detail in code.message
        assert 'posterior' not in outputs
        assert outputs['potential'].functions_per_element == {'Si': 20}

"""`pace.basis`: the functions that a fit by the same code has."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import yaml
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import CalculationFactory

from aiida_pace.calculations.basis import PaceBasisCalculation
from aiida_pace.calculations.train import PaceTrainCalculation
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.data.potential import AcePotentialData
from tests.fixtures.training import alloy_frames

PaceCode = Callable[[str, str], orm.InstalledCode]

#: With the embedding of the default, which a linear fit cannot have.
PARAMETERS = {'functions_per_element': 12, 'cutoff': 4.5, 'order': 3}


def functions(potential: AcePotentialData) -> dict[str, object]:
    """Return everything in the file that makes the basis: not coefficients, repulsion or metadata."""
    blocks = yaml.safe_load(potential.get_yaml())['species']
    names = ('ndensityi', 'parameters', 'nradmaxi', 'lmaxi', 'rcutij', 'dcutij', 'radbase', 'radparameters')
    return {
        block['speciesblock']: (
            {name: block[name] for name in names if name in block},
            [{name: value for name, value in function.items() if name != 'c'} for function in block['nbody']],
        )
        for block in blocks
    }


def make_basis(code: orm.InstalledCode, parameters: dict[str, object]) -> tuple[dict[str, orm.Data], orm.CalcJobNode]:
    return run_get_node(
        PaceBasisCalculation, code=code, elements=orm.List(['Cu', 'Al']), parameters=orm.Dict(parameters)
    )


def test_entry_point() -> None:
    assert CalculationFactory('pace.basis') is PaceBasisCalculation


@pytest.mark.engines
@pytest.mark.usefixtures('aiida_profile_clean')
def test_the_basis_is_that_of_a_linear_fit(pace_code: PaceCode) -> None:
    code = pace_code('pace.train', 'pace-fit-linear')
    parameters = PARAMETERS | {'evaluator': 'linear'}
    outputs, node = make_basis(code, parameters)
    assert node.is_finished_ok, node.exit_message
    fitted, _ = run_get_node(
        PaceTrainCalculation,
        code=code,
        datasets={'labels': AtomsDatasetData(alloy_frames())},
        parameters=orm.Dict(parameters),
    )
    assert outputs['basis'].functions_per_element == {'Al': 12, 'Cu': 12}
    assert functions(outputs['basis']) == functions(fitted['potential'])


@pytest.mark.engines
@pytest.mark.usefixtures('aiida_profile_clean')
def test_the_basis_is_that_of_pacemaker(pace_code: PaceCode) -> None:
    """The functions are those of a linear fit, each with one more coefficient for the second density."""
    outputs, node = make_basis(pace_code('pace.train', 'pacemaker'), PARAMETERS)
    assert node.is_finished_ok, node.exit_message
    linear, _ = make_basis(pace_code('pace.train', 'pace-fit-linear'), PARAMETERS | {'evaluator': 'linear'})
    found, expected = functions(outputs['basis']), functions(linear['basis'])
    assert {block: listed for block, (_, listed) in found.items()} == {
        block: listed for block, (_, listed) in expected.items()
    }
    assert {found[element][0]['ndensityi'] for element in ('Al', 'Cu')} == {2}


@pytest.mark.engines
@pytest.mark.usefixtures('aiida_profile_clean')
def test_a_code_that_does_not_do_this_fit(pace_code: PaceCode) -> None:
    _, node = make_basis(pace_code('pace.train', 'pace-fit-linear'), PARAMETERS)
    assert node.exit_status == PaceBasisCalculation.exit_codes.ERROR_BASIS_FAILED.status
    assert 'asks for the evaluator tensorpot: run pacemaker' in node.exit_message


@pytest.mark.usefixtures('aiida_profile_clean')
class TestInputs:
    @staticmethod
    def error(code: orm.InstalledCode, elements: list[str], parameters: dict[str, object]) -> str:
        inputs = {'code': code, 'elements': orm.List(elements), 'parameters': orm.Dict(parameters), 'metadata': {}}
        spec = PaceBasisCalculation.spec()
        return str(spec.inputs.validate(spec.inputs.pre_process(inputs)) or '')

    @pytest.fixture
    def code(self, aiida_code_installed: Callable[..., orm.InstalledCode]) -> orm.InstalledCode:
        return aiida_code_installed(filepath_executable='/bin/true', label='true')

    def test_complete_inputs(self, code: orm.InstalledCode) -> None:
        assert self.error(code, ['Si'], {}) == ''

    def test_no_elements(self, code: orm.InstalledCode) -> None:
        assert '`elements` is []: give chemical symbols' in self.error(code, [], {})
        assert 'give chemical symbols' in self.error(code, ['Xy'], {})

    def test_unknown_settings(self, code: orm.InstalledCode) -> None:
        assert '`parameters`: unknown setting `rcut`' in self.error(code, ['Si'], {'rcut': 5})

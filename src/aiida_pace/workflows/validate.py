"""Validate a potential: equation of state, elastic constants and phonons of crystals, against DFT."""

from __future__ import annotations

import typing as t

from aiida import orm
from aiida.engine import ExitCode, ToContext, if_
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_pace.calculations.base import validate_active_set, validate_known_elements
from aiida_pace.calculations.evaluate import PaceEvaluateCalculation
from aiida_pace.calculations.functions.validation import (
    make_response_frames,
    make_volume_frames,
    summarise_validation,
)
from aiida_pace.config import PropertyTolerances, ValidationConfig
from aiida_pace.data.active_set import AceActiveSetData
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.data.potential import AcePotentialData
from aiida_pace.structures.crystal import CrystalError, standard_primitive
from aiida_pace.structures.deformations import commensurate_points
from aiida_pace.workflows.graph import cause_of
from aiida_pace.workflows.label.base import LabelWorkChain
from aiida_pace.workflows.resumable import ResumableWorkChain, labelled
from aiida_pace.workflows.validators import validate_config

__all__ = ('ValidateWorkChain',)


class ValidateWorkChain(ResumableWorkChain):
    """Compare properties of crystals under a potential with those under DFT, from the very same frames.

    First the crystals at several volumes, labelled and evaluated: each method has its own lattice constant and bulk
    modulus. Then, at the lattice constant of DFT, strained and displaced frames: elastic constants, atoms relaxed by
    linear response, and phonons of the same structure under both methods. Shape and fractional places are those given:
    crystals that leave them free are relaxed beforehand (``residual_force`` and ``residual_shear`` tell). All frames of
    a crystal are labelled with the same mesh of k-points, where the labeller has any; it may be denser than the one
    asked for. Frames that the profile has labelled before are not labelled again, so that the next potential costs no
    DFT.
    """

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        """Define the process specification."""
        super().define(spec)
        spec.input_namespace(
            'structures',
            valid_type=orm.StructureData,
            dynamic=True,
            help='The crystals, by name; any cell of a crystal will do, near equilibrium.',
        )
        spec.input('potential', valid_type=AcePotentialData, help='The potential to validate.')
        spec.input(
            'active_set',
            valid_type=AceActiveSetData,
            required=False,
            help='The active set of `potential`; with it the highest extrapolation grade of the frames is reported.',
        )
        spec.input(
            'parameters',
            valid_type=orm.Dict,
            default=orm.Dict,
            validator=validate_config(ValidationConfig),
            help='Settings of `ValidationConfig`: which properties, and from which frames.',
        )
        spec.input(
            'tolerances',
            valid_type=orm.Dict,
            default=orm.Dict,
            validator=validate_config(PropertyTolerances),
            help='Settings of `PropertyTolerances`: the largest difference of each property from DFT.',
        )
        # Frames of finite differences are near duplicates by intent: all of them go to DFT.
        spec.expose_inputs(LabelWorkChain, namespace='label', exclude=('dataset', 'duplicate_tolerance'))
        spec.expose_inputs(
            PaceEvaluateCalculation, namespace='evaluate', exclude=('dataset', 'potential', 'active_set', 'posterior')
        )
        spec.inputs.validator = cls.validate_inputs
        steps: t.Any = cls  # for `outline`, steps are functions of any work chain
        spec.outline(
            steps.make_volumes,
            steps.run_volumes,
            steps.inspect_volumes,
            steps.make_responses,
            if_(steps.has_responses)(steps.run_responses, steps.inspect_responses),
            steps.summarise,
            steps.results,
        )
        spec.output(
            'output_parameters',
            valid_type=orm.Dict,
            required=False,
            help='By structure: lattice constant (Å), bulk modulus and elastic constants (GPa), phonons (THz) under '
            'DFT and the potential, their differences, and the causes of missing properties; `core_seconds` of '
            'DFT spent.',
        )
        spec.output(
            'gates',
            valid_type=orm.Dict,
            required=False,
            help='`passed`, whether every property is within its tolerance; `failed`, a sentence on each property '
            'that is not; by structure and property, the largest deviation.',
        )
        spec.output_namespace(
            'datasets',
            valid_type=AtomsDatasetData,
            dynamic=True,
            required=False,
            help='The labelled frames, `volumes` and `responses`; they can be trained on.',
        )
        spec.output_namespace(
            'accounts',
            valid_type=orm.Dict,
            dynamic=True,
            required=False,
            help='The accounts of the labelling of `volumes` and `responses`.',
        )
        spec.exit_code(
            410, 'ERROR_LABELS_FAILED', message='the {step} of the crystals could not be labelled by DFT: {cause}'
        )
        spec.exit_code(
            411,
            'ERROR_EVALUATION_FAILED',
            message='the {step} of the crystals could not be evaluated with the potential: {cause}',
        )
        spec.exit_code(
            510,
            'ERROR_PROPERTIES_INCOMPLETE',
            message='DFT does not give all properties: {causes}. Fix the cause and run again: labelled frames are '
            'reused.',
        )

    @classmethod
    def validate_inputs(cls, value: t.Any, _: t.Any) -> str | None:
        """Refuse structures that are no crystals of the potential's elements, and a foreign active set."""
        structures, potential = value.get('structures') or {}, value.get('potential')
        if not structures:
            return '`structures` is empty: give at least one crystal.'
        config = ValidationConfig.model_validate(value['parameters'].get_dict())
        for name, structure in structures.items():
            port = f'structures.{name}'
            elements = structure.get_symbols_set()
            remedy = 'give crystals of these elements'
            if error := validate_known_elements(port, elements, potential, remedy):
                return error
            if error := LabelWorkChain.labeller(value['label']).validate_elements(elements):
                return f'`{port}`: {error}'
            try:
                commensurate_points(standard_primitive(structure.get_ase(), config.symmetry_tolerance), config)
            except CrystalError as exception:
                return f'`{port}`: {exception}.'
        return validate_active_set(value.get('active_set'), potential)

    def make_volumes(self) -> None:
        """Make the frames of the equations of state, and choose the settings with which all frames are consistent."""
        labeller = LabelWorkChain.labeller(self.inputs.label)
        self.ctx.consistent = labeller.consistent_inputs(self.inputs.parameters, self._structures)
        for name, node in self.ctx.consistent.items():
            self.report(f'`label.{labeller.name}.{name}`: {node.value} for {labeller.inputs[name].value}')
        self.ctx.frames = {'volumes': make_volume_frames(self.inputs.parameters, **self._structures)}

    def run_volumes(self) -> ToContext[str, t.Any]:
        """Label and evaluate them."""
        return self._run('volumes')

    def inspect_volumes(self) -> ExitCode | None:
        """Attach their labels; stop when a method says nothing."""
        return self._inspect('volumes')

    def make_responses(self) -> None:
        """Make the strained and displaced frames at the volume where DFT has its lowest energy."""
        labels = self.outputs['datasets']['volumes']
        made = make_response_frames(self.inputs.parameters, labels, **self._structures)
        if made:
            self.ctx.frames['responses'] = made['dataset']

    def has_responses(self) -> bool:
        """Return whether there are any: they may not be asked for, or DFT may have told no volume."""
        return 'responses' in self.ctx.frames

    def run_responses(self) -> ToContext[str, t.Any]:
        """Label and evaluate them."""
        return self._run('responses')

    def inspect_responses(self) -> ExitCode | None:
        """Attach their labels; stop when a method says nothing."""
        return self._inspect('responses')

    def summarise(self) -> None:
        """Attach the properties and the gates."""
        nodes: dict[str, orm.Data] = dict(self._structures)
        for step, frames in self.ctx.frames.items():
            nodes |= {
                f'frames__{step}': frames,
                f'labels__{step}': self.outputs['datasets'][step],
                f'account__{step}': self.outputs['accounts'][step],
                f'evaluation__{step}': self.ctx[f'evaluate_{step}'].outputs.evaluation,
            }
        summary = summarise_validation(self.inputs.parameters, self.inputs.tolerances, **nodes)
        self.out('output_parameters', summary['output_parameters'])
        self.out('gates', summary['gates'])

    def results(self) -> ExitCode | None:
        """Say which gates failed, and what DFT did not tell."""
        for sentence in self.outputs['gates']['failed'] or ['all properties are within the tolerances']:
            self.report(sentence)
        causes = [
            f'{name}: {prop.replace("_", " ")}: {cause}'
            for name, found in self.outputs['output_parameters']['structures'].items()
            for prop, cause in found['errors']['dft'].items()
        ]
        return self.exit_codes.ERROR_PROPERTIES_INCOMPLETE.format(causes='; '.join(causes)) if causes else None

    @property
    def _structures(self) -> dict[str, orm.StructureData]:
        """The structures, by the names that calcfunctions take."""
        return {f'structure__{name}': node for name, node in self.inputs.structures.items()}

    def _run(self, step: str) -> ToContext[str, t.Any]:
        """Label the frames of ``step``, and evaluate them at the same time."""
        frames = self.ctx.frames[step]
        potential = {name: self.inputs[name] for name in ('potential', 'active_set') if name in self.inputs}
        label = {**self.exposed_inputs(LabelWorkChain, 'label'), 'dataset': frames}
        labeller = LabelWorkChain.labeller(label)
        label[labeller.name] = {**labeller.inputs, **self.ctx.consistent}
        evaluate = {**self.exposed_inputs(PaceEvaluateCalculation, 'evaluate'), **potential, 'dataset': frames}
        self.report(f'{frames.count} frames of the {step}')
        return ToContext(
            **{
                f'label_{step}': self.submit(LabelWorkChain, labelled(f'label_{step}', label)),
                f'evaluate_{step}': self.submit(PaceEvaluateCalculation, labelled(f'evaluate_{step}', evaluate)),
            }
        )

    def _inspect(self, step: str) -> ExitCode | None:
        """Attach labels and account of ``step``; return why a method says nothing of it."""
        label, evaluation = self.ctx[f'label_{step}'], self.ctx[f'evaluate_{step}']
        for port, output in (('datasets', 'dataset'), ('accounts', 'output_parameters')):
            if output in label.outputs:
                self.out(f'{port}.{step}', label.outputs[output])
        if not label.is_finished_ok or 'dataset' not in label.outputs:
            return self.exit_codes.ERROR_LABELS_FAILED.format(step=step, cause=cause_of(label))  # type: ignore[no-any-return]
        if not evaluation.is_finished_ok:
            return self.exit_codes.ERROR_EVALUATION_FAILED.format(step=step, cause=cause_of(evaluation))  # type: ignore[no-any-return]
        return None

"""The state and the settings of a campaign, as the steps of the loop ask for them, and how it hands over."""

from __future__ import annotations

import typing as t
from collections.abc import Collection

from aiida import orm
from aiida.engine import ExitCode

from aiida_pace.campaign.phases import CAMPAIGN_EXTRA, Phase, Step, cycle_label
from aiida_pace.campaign.state import CampaignState, fold
from aiida_pace.config import (
    AuditConfig,
    EmbeddingConfig,
    GrowthConfig,
    MdConfig,
    StageConfig,
    StopConfig,
    TrainingConfig,
)
from aiida_pace.metrics.audit import audits_of_potential
from aiida_pace.workflows.graph import cause_of
from aiida_pace.workflows.learned import learned_atoms, training_cost
from aiida_pace.workflows.records import read_records, start_state
from aiida_pace.workflows.resumable import ResumableWorkChain

__all__ = ('CampaignWorkChain',)


class CampaignWorkChain(ResumableWorkChain):
    """Base of `ActiveLearningWorkChain`: its state, and how it is shown and handed over.

    ``ctx.state`` is read from the graph after each step, in the same way as a restart and ``aiida-pace status`` read
    it. Beside it, ``ctx`` holds what belongs to the current cycle only.
    """

    #: State that the campaign begins in; read when first needed, also after AiiDA has loaded the work chain anew.
    _first_state: CampaignState | None = None

    def setup(self) -> None:
        """Start with nothing, with what was given, or where another campaign stood."""
        self._read_state()
        self.ctx.cycle = self.ctx.first_cycle = self.ctx.state.cycle
        self.ctx.candidates = self.ctx.audit = self.ctx.previous = None
        self.ctx.halted, self.ctx.drawn = [], None
        if 'restart_from' in self.inputs:
            self.report(
                f'restarts from campaign {self.inputs.restart_from.value} after its cycle {self.ctx.state.cycle}'
            )
        self._describe()

    def _read_state(self) -> None:
        """Read from the graph where the campaign stands now."""
        pk = t.cast(int, self.node.pk)
        if self._first_state is None:
            self._first_state = start_state(pk)
        self.ctx.state = fold(read_records(pk), self._first_state)

    def _describe(self) -> None:
        """Give the campaign a label and a description, where the user gave none."""
        elements = ', '.join(self._elements)
        if not self.node.label:
            self.node.label = f'ACE potential for {elements}'
        if not self.node.description:
            walkers = ', '.join(
                f'{name} ({structure.get_formula()})' for name, structure in self.inputs.explore.structures.items()
            )
            self.node.description = f'Active learning of an ACE potential for {elements}; walkers: {walkers}'

    @property
    def cycle_label(self) -> str:
        """Name of the current cycle, as in the link labels."""
        return cycle_label(self.ctx.cycle)

    def _label(self, phase: Phase, again: bool = False) -> str:
        """Return the link label of a process of the current cycle."""
        return Step(phase, self.ctx.cycle, again).label

    @property
    def _training_config(self) -> TrainingConfig:
        return TrainingConfig.model_validate(self.inputs.train.fit.parameters.get_dict())

    @property
    def _stop_config(self) -> StopConfig:
        return StopConfig.model_validate(self.inputs.stop.get_dict())

    @property
    def _growth_config(self) -> GrowthConfig:
        return GrowthConfig.model_validate(self.inputs.growth.get_dict())

    @property
    def _max_dft_atoms(self) -> int:
        return EmbeddingConfig.model_validate(self.inputs.select.embed.parameters.get_dict()).max_dft_atoms

    @property
    def _stages(self) -> list[StageConfig]:
        return [StageConfig.model_validate(stage) for stage in self.inputs.stages] if 'stages' in self.inputs else []

    @property
    def _elements(self) -> Collection[str]:
        """Chemical symbols of the campaign."""
        if self.ctx.state.training:
            return sorted({element for node in self._training_sets().values() for element in node.elements})
        return sorted(set(self.inputs.initial.elements))

    @property
    def _walkers(self) -> dict[str, orm.StructureData]:
        """The structures that walk in the current stage."""
        structures = dict(self.inputs.explore.structures)
        names = self._stages[self.ctx.state.stage].structures if self._stages else ()
        return {name: structures[name] for name in names or structures}

    def _stage_parameters(self) -> orm.Dict:
        """Return the settings of the walkers in the current stage."""
        parameters = self.inputs.explore.lammps.parameters
        if not self._stages:
            return parameters  # type: ignore[no-any-return]
        base = MdConfig.model_validate(parameters.get_dict())
        return orm.Dict(self._stages[self.ctx.state.stage].md(base).model_dump())

    def _begin_cycle(self) -> None:
        """Forget what belonged to the last cycle."""
        self.ctx.cycle = self.ctx.state.cycle + 1
        self.ctx.candidates = self.ctx.drawn = self.ctx.audit = None
        self.ctx.halted = []
        self.ctx.previous = None if self.ctx.state.verdict is None else self.ctx.state.verdict.uuid

    def _training_sets(self) -> dict[str, t.Any]:
        """Return the labelled frames to train on, by name."""
        return {name: orm.load_node(dataset.uuid) for name, dataset in self.ctx.state.training.items()}

    def _audit_sets(self, names: Collection[str] | None = None) -> dict[str, t.Any]:
        """Return the labelled audit frames, by cycle, of the cycles ``names`` only when given."""
        audits = self.ctx.state.audits.items()
        return {name: orm.load_node(audit.uuid) for name, audit in audits if names is None or name in names}

    def _known(self) -> dict[str, t.Any]:
        """Return all labelled frames, those of audits too."""
        return {**self._training_sets(), **{f'audit_{name}': node for name, node in self._audit_sets().items()}}

    def _potential(self, uuid: str | None = None) -> dict[str, orm.Data]:
        """Return the potential of this UUID, the last one without it, and its active set if it has one."""
        uuid = uuid or t.cast('str | None', self.ctx.state.potential)
        if uuid is None:
            return {}
        found = {'potential': uuid, 'active_set': self.ctx.state.potentials[uuid].active_set}
        return {name: t.cast(orm.Data, orm.load_node(one)) for name, one in found.items() if one is not None}

    @property
    def _best_potential(self) -> str | None:
        """UUID of the potential to hand over."""
        return t.cast(CampaignState, self.ctx.state).best_potential(self._stop_config.min_audit)

    def _cycle_seed(self) -> orm.Int:
        """Return the seed of this cycle; walkers count up from it, so cycles lie a thousand apart."""
        return orm.Int(self.inputs.seed.value + 1000 * self.ctx.cycle)

    def _samples(self) -> dict[str, t.Any]:
        """Return frames of the MD below the halting threshold, by walker."""
        outputs = self.ctx.exploration.outputs
        return dict(outputs.samples) if 'samples' in outputs else {}

    def _audits_of_potential(self) -> list[str]:
        """Return the cycles whose audit frames may speak for the current potential; see `AuditConfig.pooling`."""
        audits = self.ctx.state.audits
        may_speak = audits_of_potential(
            [audit.potential for audit in audits.values()],
            [audit.stage for audit in audits.values()],
            self.ctx.state.potential or '',
            self.ctx.state.stage,
            AuditConfig.model_validate(self.inputs.audit.get_dict()).pooling,
        )
        return [name for name, speaks in zip(audits, may_speak, strict=True) if speaks]

    def _numbers(self) -> dict[str, t.Any]:
        """Return what the judge has to know of this cycle, beside what other steps put out."""
        state: CampaignState = self.ctx.state
        training = state.training.values()
        return {
            'stage': state.stage,
            'potential': state.potential,
            'walkers': len(self._walkers),
            'labels': state.labels - state.new_labels,
            'new_labels': state.new_labels,
            'core_seconds': state.core_seconds,
            'training_core_seconds': training_cost(training),
            'functions': orm.load_node(state.potential).functions_per_element,
            'atoms': learned_atoms(training, self._training_config.cutoff),
            'stages': max(1, len(self._stages)),
            'gated': 'validate' in self.inputs,
        }

    def _enter(self, phase: Phase | str, **numbers: int) -> None:
        """Say what the campaign does: on the node for `aiida-pace status`, and in the report.

        :param phase: the phase that begins, or in a word how the campaign ended.
        """
        stop, name = self._stop_config, phase.value if isinstance(phase, Phase) else phase
        stand = {
            'cycle': self.ctx.cycle,
            'phase': name,
            'max_cycles': stop.max_cycles,
            'quiet_target': stop.quiet_rounds,
            'stages': max(1, len(self._stages)),
        }
        self.node.base.extras.set(CAMPAIGN_EXTRA, stand | numbers)
        details = ', '.join(f'{number} {name}' for name, number in numbers.items())
        self.report(f'{self.cycle_label}: {name}' + (f' ({details})' if details else ''))

    def _attach(self) -> None:
        """Attach all outputs there are; also a campaign that fails hands over what it has, the best potential of it."""
        state, best = t.cast(CampaignState, self.ctx.state), self._best_potential
        for name, node in self._potential(best).items():
            self.out(name, node)
        if best is not None and (errors := state.potentials[best].errors) is not None:
            self.out('training', orm.load_node(errors))
        for port, datasets in (('datasets', self._training_sets()), ('audits', self._audit_sets())):
            for name, dataset in datasets.items():
                self.out(f'{port}.{name}', dataset)
        if state.verdict is not None:
            self.out('history', orm.load_node(state.verdict.uuid))
        if state.is_validated(best):
            validation = state.validations[t.cast(str, best)]
            for name, uuid in (('validation', validation.properties), ('gates', validation.gates)):
                if uuid is not None:
                    self.out(name, orm.load_node(uuid))

    def _stop(self, exit_code: ExitCode, cause: orm.ProcessNode | str) -> ExitCode:
        """Attach what there is and return ``exit_code`` with its cause: a sentence, or the child that failed."""
        self._attach()
        self._enter('failed')
        return exit_code.format(step=self.cycle_label, cause=cause if isinstance(cause, str) else cause_of(cause))

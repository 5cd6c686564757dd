"""What the loop keeps count of, beside the steps themselves."""

from __future__ import annotations

import typing as t
from collections.abc import Collection

from aiida import orm
from aiida.engine import ExitCode

from aiida_pace.campaign.history import CycleRecord, quiet_rounds
from aiida_pace.campaign.judge import Action
from aiida_pace.campaign.phases import CAMPAIGN_EXTRA, cycle_label
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
from aiida_pace.training.training_set import learned_environments
from aiida_pace.workflows.graph import cause_of
from aiida_pace.workflows.label.reuse import label_costs
from aiida_pace.workflows.restart import CampaignState, restored_state, validation_sets
from aiida_pace.workflows.resumable import ResumableWorkChain

__all__ = ('CampaignWorkChain',)


class CampaignWorkChain(ResumableWorkChain):
    """Base of `ActiveLearningWorkChain`: its state, and how it is shown, handed over and restored."""

    def setup(self) -> None:
        """Start with nothing, with what was given, or where another campaign stood."""
        state = CampaignState()
        if 'restart_from' in self.inputs:
            state = restored_state(t.cast(orm.WorkChainNode, orm.load_node(self.inputs.restart_from.value)))
            self.report(f'restarts from campaign {self.inputs.restart_from.value} after its cycle {state.cycle}')
        self.ctx.update(vars(state))
        self.ctx.atoms, self.ctx.datasets = {}, {}
        given = self.inputs.datasets if 'datasets' in self.inputs else {}
        for name, dataset in ({f'given_{name}': node for name, node in given.items()} | state.datasets).items():
            self._add_training_set(name, dataset)
        if self.ctx.potential is None and 'potential' in self.inputs:
            self.ctx.potential = self.inputs.potential
            self.ctx.active_set = self.inputs.active_set if 'active_set' in self.inputs else None
            self.ctx.potentials[self.ctx.potential.uuid] = {**self._potential(), 'training': None}
        self.ctx.candidates = self.ctx.audit = self.ctx.gates = self.ctx.verdict = None
        self.ctx.halted, self.ctx.drawn = [], {}

    @property
    def cycle_label(self) -> str:
        """Where the campaign stands, as the first part of link labels."""
        return cycle_label(self.ctx.cycle)

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
    def _wants_random_training_frames(self) -> bool:
        """Whether the last verdict was to learn more, and nothing has been learnt since."""
        previous = self.ctx.previous
        asked = previous is not None and previous['action'] == Action.LEARN
        return asked and previous['history'][-1]['potential'] == self.ctx.potential.uuid

    @property
    def _max_dft_atoms(self) -> int:
        return EmbeddingConfig.model_validate(self.inputs.select.embed.parameters.get_dict()).max_dft_atoms

    @property
    def _stages(self) -> list[StageConfig]:
        return [StageConfig.model_validate(stage) for stage in self.inputs.stages] if 'stages' in self.inputs else []

    @property
    def _elements(self) -> Collection[str]:
        """Chemical symbols of the campaign."""
        if self.ctx.datasets:
            return sorted({element for node in self.ctx.datasets.values() for element in node.elements})
        return sorted(set(self.inputs.initial.elements))

    @property
    def _walkers(self) -> dict[str, orm.StructureData]:
        """The structures that walk in the current stage."""
        structures = dict(self.inputs.explore.structures)
        names = self._stages[self.ctx.stage].structures if self._stages else ()
        return {name: structures[name] for name in names or structures}

    def _stage_parameters(self) -> orm.Dict:
        """Return the settings of the walkers in the current stage."""
        parameters = self.inputs.explore.lammps.parameters
        if not self._stages:
            return parameters
        base = MdConfig.model_validate(parameters.get_dict())
        return orm.Dict(self._stages[self.ctx.stage].md(base).model_dump())

    def _begin_cycle(self) -> None:
        """Forget what belonged to the last cycle."""
        self.ctx.cycle += 1
        self.ctx.new_labels = 0
        self.ctx.candidates, self.ctx.drawn, self.ctx.audit = None, {}, None
        self.ctx.previous = self.ctx.verdict or self.ctx.previous

    def _add_training_set(self, name: str, dataset: t.Any) -> None:
        """Add labelled frames to what is trained on."""
        self.ctx.datasets[name] = dataset
        for element, count in learned_environments(dataset.frames, self._training_config.cutoff).items():
            self.ctx.atoms[element] = self.ctx.atoms.get(element, 0) + count

    def _learn_validation(self) -> None:
        """Train on the frames of the validation, too, when they are not trained on yet."""
        for name, dataset in validation_sets(self.ctx.validation, self.cycle_label, self.ctx.datasets).items():
            self._add_training_set(name, dataset)
            self.ctx.new_labels += dataset.count
            self.ctx.training_core_seconds += sum(label_costs(dataset))

    def _take_potential(self, training: orm.WorkChainNode) -> None:
        """Take a new potential, and keep it by its UUID."""
        outputs = training.outputs
        self.ctx.new_labels = 0
        self.ctx.potentials[outputs.potential.uuid] = {
            'potential': outputs.potential,
            'training': outputs.output_parameters,
            'active_set': outputs.active_set if 'active_set' in outputs else None,
        }
        self._take_up(outputs.potential.uuid)

    def _take_up(self, uuid: str) -> None:
        """Go on with the potential of this UUID; its properties are not known."""
        self.ctx.update(self.ctx.potentials.get(uuid, {}))
        self.ctx.gates = None

    def _potential(self) -> dict[str, orm.Data]:
        return {'potential': self.ctx.potential, 'active_set': self.ctx.active_set}

    def _cycle_seed(self) -> orm.Int:
        """Return the seed of this cycle; walkers count up from it, so cycles lie a thousand apart."""
        return orm.Int(self.inputs.seed.value + 1000 * self.ctx.cycle)

    def _samples(self) -> dict[str, t.Any]:
        """Return frames of the MD below the halting threshold, by walker."""
        outputs = self.ctx.exploration.outputs
        return dict(outputs.samples) if 'samples' in outputs else {}

    def _known(self) -> dict[str, t.Any]:
        """Return all labelled frames, those of audits too."""
        return {**self.ctx.datasets, **{f'audit_{name}': node for name, node in self.ctx.audits.items()}}

    def _audits_of_potential(self) -> dict[str, t.Any]:
        """Return the audit frames that may speak for the current potential, by cycle; see `AuditConfig.pooling`."""
        audited = [self.ctx.audited[name] for name in self.ctx.audits]
        may_speak = audits_of_potential(
            [origin['potential'] for origin in audited],
            [origin['stage'] for origin in audited],
            self.ctx.potential.uuid,
            self.ctx.stage,
            AuditConfig.model_validate(self.inputs.audit.get_dict()).pooling,
        )
        return {name: node for (name, node), speaks in zip(self.ctx.audits.items(), may_speak, strict=True) if speaks}

    def _numbers(self) -> dict[str, t.Any]:
        """Return what the judge has to know of this cycle, beside what other steps put out."""
        return {
            'stage': self.ctx.stage,
            'potential': self.ctx.potential.uuid,
            'walkers': len(self._walkers),
            'labels': sum(dataset.count for dataset in self.ctx.datasets.values()) - self.ctx.new_labels,
            'new_labels': self.ctx.new_labels,
            'core_seconds': self.ctx.core_seconds,
            'training_core_seconds': self.ctx.training_core_seconds,
            'functions': self.ctx.potential.functions_per_element,
            'atoms': self.ctx.atoms,
            'stages': max(1, len(self._stages)),
            'gated': 'validate' in self.inputs,
        }

    @property
    def _history(self) -> list[CycleRecord]:
        """The cycles that were judged."""
        verdict = self.ctx.verdict or self.ctx.previous
        return [] if verdict is None else [CycleRecord.from_dict(record) for record in verdict['history']]

    def _verdict(self, key: str) -> t.Any:
        """Return a part of the last verdict of this run; None before the first."""
        return None if self.ctx.verdict is None else self.ctx.verdict[key]

    def _enter(self, phase: str, **numbers: int) -> None:
        """Say where the campaign stands: on the node for `aiida-pace status`, and in the report."""
        stop = self._stop_config
        state = {
            'cycle': self.ctx.cycle,
            'max_cycles': stop.max_cycles,
            'quiet_rounds': quiet_rounds(self._history),
            'quiet_target': stop.quiet_rounds,
            'phase': phase,
            'labels': sum(dataset.count for dataset in self.ctx.datasets.values()),
            'stages': max(1, len(self._stages)),
            'verdict': self._verdict('message'),
        }
        self.node.base.extras.set(CAMPAIGN_EXTRA, {'stage': self.ctx.stage + 1} | state | numbers)
        details = ', '.join(f'{number} {name}' for name, number in numbers.items())
        self.report(f'{self.cycle_label}: {phase}' + (f' ({details})' if details else ''))

    def _attach(self) -> None:
        """Attach all outputs there are; also a campaign that fails hands over what it has."""
        for name in ('potential', 'active_set', 'training'):
            if self.ctx[name] is not None:
                self.out(name, self.ctx[name])
        for name in ('datasets', 'audits'):
            for label, dataset in self.ctx[name].items():
                self.out(f'{name}.{label}', dataset)
        if (verdict := self.ctx.verdict or self.ctx.previous) is not None:
            self.out('history', verdict)
        if 'validation' in self.ctx and self.ctx.gates is not None and 'gates' in self.ctx.validation.outputs:
            self.out('validation', self.ctx.validation.outputs.output_parameters)
            self.out('gates', self.ctx.gates)

    def _stop(self, exit_code: ExitCode, cause: orm.ProcessNode | str) -> ExitCode:
        """Attach what there is and return ``exit_code`` with its cause: a sentence, or the child that failed."""
        self._attach()
        self._enter('failed')
        return exit_code.format(step=self.cycle_label, cause=cause if isinstance(cause, str) else cause_of(cause))

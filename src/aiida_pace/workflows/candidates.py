"""From halted frames to the few candidates that teach the potential most."""

from __future__ import annotations

import typing as t

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, ToContext, if_
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_pace.calculations.embed import PaceEmbedCalculation
from aiida_pace.calculations.evaluate import PaceEvaluateCalculation
from aiida_pace.calculations.functions.candidates import (
    EMBEDDED,
    HALT,
    choose_candidates,
    collect_candidates,
    guard_candidates,
    halting_indices,
    take_large_frames,
)
from aiida_pace.calculations.select import PaceSelectCalculation
from aiida_pace.calculations.swarm import PaceSwarmCalculation
from aiida_pace.config import SwarmConfig
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.workflows.candidates_ports import define_inputs, define_outputs, max_dft_atoms
from aiida_pace.workflows.graph import cause_of
from aiida_pace.workflows.resumable import ResumableWorkChain, labelled

__all__ = ('CandidatesWorkChain',)

#: Exit code of a choice by MaxVol that finds nothing new.
EMPTY = PaceSelectCalculation.exit_codes.ERROR_SELECTION_EMPTY


class CandidatesWorkChain(ResumableWorkChain):
    """Embed what is too large for DFT, make swarms around the halts, guard, evaluate, and choose what teaches most."""

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        """Define the process specification."""
        super().define(spec)
        define_inputs(spec)
        define_outputs(spec)
        steps: t.Any = cls  # for `outline`, steps are functions of any work chain
        spec.outline(
            steps.setup,
            if_(steps.has_large_frames)(steps.embed, steps.inspect_embedding),
            if_(steps.should_swarm)(steps.swarm, steps.inspect_swarm),
            steps.guard,
            steps.inspect_guards,
            steps.evaluate,
            steps.inspect_evaluation,
            if_(steps.should_select)(steps.select, steps.inspect_selection),
            steps.results,
        )

    @property
    def max_frames(self) -> int:
        """Largest number of candidates to keep."""
        halts = sum(int(np.sum(node.frames.origin == HALT)) for node in self.inputs.extrapolative.values())
        return int(self.inputs.max_per_halt.value) * max(1, halts)

    def setup(self) -> None:
        """Start with nothing made."""
        self.ctx.parts, self.ctx.details, self.ctx.failed = {}, {}, {}

    def has_large_frames(self) -> bool:
        """Return whether something is too large for DFT."""
        limit = max_dft_atoms(self.inputs)
        return any(bool(np.any(node.frames.sizes > limit)) for node in self.inputs.extrapolative.values())

    def embed(self) -> ToContext[str, t.Any]:
        """Put boxes around the worst surroundings of the large frames."""
        large = take_large_frames(
            self.inputs.closest,
            orm.Int(max_dft_atoms(self.inputs)),
            self.inputs.max_per_halt,
            **self._visited(),
            metadata={'call_link_label': 'take_large_frames'},  # type: ignore[arg-type]
        )
        self.ctx.parts['large'], self.ctx.details['walkers'] = large['dataset'], large['walkers']
        inputs = {**self._inputs(PaceEmbedCalculation, 'embed'), 'dataset': large['dataset']}
        inputs['closest'] = self.inputs.closest
        return ToContext(embedding=self.submit(PaceEmbedCalculation, labelled('embed', inputs)))

    def inspect_embedding(self) -> ExitCode | None:
        """Take the boxes; go on without them as long as there is something else."""
        self._take('embedding', EMBEDDED)
        limit = max_dft_atoms(self.inputs)
        if EMBEDDED not in self.ctx.parts and all(node.frames.sizes.min() > limit for node in self._visited().values()):
            return self.exit_codes.ERROR_EMBEDDING_FAILED.format(atoms=limit, cause=cause_of(self.ctx.embedding))  # type: ignore[no-any-return]
        return None

    def should_swarm(self) -> bool:
        """Return whether there is something to make a swarm around, and a swarm is asked for."""
        count = SwarmConfig.model_validate(self.inputs.swarm.parameters.get_dict()).count
        return count > 0 and bool(self._halting()[0])

    def swarm(self) -> ToContext[str, t.Any]:
        """Make swarms around the halting frames."""
        datasets, indices = self._halting()
        self.ctx.details['halts'] = orm.Dict(indices)
        inputs = {
            **self._inputs(PaceSwarmCalculation, 'swarm'),
            'datasets': datasets,
            'indices': self.ctx.details['halts'],
            'closest': self.inputs.closest,
            'seed': self.inputs.seed,
        }
        return ToContext(swarming=self.submit(PaceSwarmCalculation, labelled('swarm', inputs)))

    def inspect_swarm(self) -> None:
        """Take the swarms; go on with the frames of the walkers alone when there are none."""
        self._take('swarming', 'swarm')

    def guard(self) -> None:
        """Let the guards judge all candidates."""
        known = {f'known__{name}': node for name, node in self.inputs.get('known', {}).items()}
        drawn = {'drawn': self.inputs.drawn} if 'drawn' in self.inputs else {}
        guarded = guard_candidates(
            self.inputs.guards,
            self.inputs.closest,
            orm.Int(max_dft_atoms(self.inputs)),
            **self.ctx.details,
            **self.ctx.parts,
            **self._visited(),  # type: ignore[arg-type]
            **known,
            **drawn,
            metadata={'call_link_label': 'guard'},  # type: ignore[arg-type]
        )
        self.ctx.guarded, self.ctx.walkers = guarded['account'], guarded['walkers']
        self.ctx.pool = guarded.get('pool')

    def inspect_guards(self) -> ExitCode | None:
        """Stop when the guards left nothing."""
        account = self.ctx.guarded
        causes = ', '.join(f'{count} x {cause}' for cause, count in account['rejected'].items())
        self.report(f'{account["candidates"]} candidates; rejected: {causes or "none"}')
        if self.ctx.pool is None:
            self.out('output_parameters', account)
            return self.exit_codes.ERROR_POOL_EMPTY.format(causes=causes)  # type: ignore[no-any-return]
        return None

    def evaluate(self) -> ToContext[str, t.Any]:
        """Compute energy and extrapolation grade of every candidate."""
        inputs = {**self._inputs(PaceEvaluateCalculation, 'evaluate'), 'dataset': self.ctx.pool}
        return ToContext(evaluation=self.submit(PaceEvaluateCalculation, labelled('evaluate', inputs)))

    def inspect_evaluation(self) -> ExitCode | None:
        """Leave out what lies outside the energy window, and choose by the strategy."""
        if not self.ctx.evaluation.is_finished_ok:
            return self.exit_codes.ERROR_EVALUATION_FAILED.format(cause=cause_of(self.ctx.evaluation))  # type: ignore[no-any-return]
        chosen = choose_candidates(  # type: ignore[call-arg]
            pool=self.ctx.pool,
            walkers=self.ctx.walkers,
            evaluation=self.ctx.evaluation.outputs.evaluation,
            max_frames=orm.Int(self.max_frames),
            metadata={'call_link_label': 'choose'},
            **{name: self.inputs[name] for name in ('potential', 'guards', 'strategy', 'grade_threshold', 'seed')},
        )
        self.ctx.chosen, self.ctx.choice = chosen['indices'], chosen['account']
        return None

    def should_select(self) -> bool:
        """Return whether MaxVol has to choose, since there are more candidates than may be kept."""
        return len(self.ctx.chosen) > self.max_frames

    def select(self) -> ToContext[str, t.Any]:
        """Choose by D-optimality against the current active set."""
        inputs = {
            **self._inputs(PaceSelectCalculation, 'maxvol'),
            'dataset': self.ctx.pool,
            'candidates': self.ctx.chosen,
            'max_frames': orm.Int(self.max_frames),
        }
        return ToContext(selection=self.submit(PaceSelectCalculation, labelled('select', inputs)))

    def inspect_selection(self) -> ExitCode | None:
        """Go on when MaxVol has chosen; also when none would enter the active set."""
        selection = self.ctx.selection
        if selection.is_finished_ok or selection.exit_status == EMPTY.status:
            return None
        return self.exit_codes.ERROR_SELECTION_FAILED.format(cause=cause_of(selection))  # type: ignore[no-any-return]

    def results(self) -> None:
        """Attach the candidates, and what became of all others."""
        optional = {
            'boxes': self.ctx.details.get('embedding'),
            'selection': self.ctx.selection.outputs.output_parameters if 'selection' in self.ctx else None,
            'drawn': self.inputs.get('drawn'),
        }
        collected = collect_candidates(  # type: ignore[call-arg]
            self.ctx.pool,
            self.ctx.evaluation.outputs.evaluation,
            guarded=self.ctx.guarded,
            chosen=self.ctx.chosen,
            choice=self.ctx.choice,
            max_frames=orm.Int(self.max_frames),
            failed=orm.Dict(self.ctx.failed),
            **{name: node for name, node in optional.items() if node is not None},
            metadata={'call_link_label': 'collect'},
        )
        for name in ('dataset', 'output_parameters'):
            self.out(name, collected[name])
        self.report(f'{sum(collected["output_parameters"]["kept"].values())} candidates kept')

    def _inputs(self, process: t.Any, namespace: str) -> dict[str, t.Any]:
        """Return the inputs of ``process``, exposed in ``namespace``, with the potential."""
        potential, active_set = self.inputs.potential, self.inputs.active_set
        return {**self.exposed_inputs(process, namespace), 'potential': potential, 'active_set': active_set}

    def _visited(self) -> dict[str, AtomsDatasetData]:
        """Return the frames of the walkers, as calcfunctions take them."""
        return {
            f'{kind}__{name}': node
            for kind in ('extrapolative', 'samples')
            for name, node in self.inputs.get(kind, {}).items()
        }

    def _halting(self) -> tuple[dict[str, AtomsDatasetData], dict[str, list[int]]]:
        """Return the data sets that hold halting frames fit for DFT, and the indices of these frames."""
        return halting_indices(self.inputs.extrapolative, self.ctx.parts.get(EMBEDDED), max_dft_atoms(self.inputs))

    def _take(self, step: str, part: str) -> None:
        """Take the frames of a finished ``step`` as a ``part`` of the pool, or note why there are none."""
        process = self.ctx[step]
        if 'dataset' in process.outputs:
            self.ctx.parts[part] = process.outputs.dataset
        if 'output_parameters' in process.outputs:
            self.ctx.details[step] = process.outputs.output_parameters
        if not process.is_finished_ok:
            self.ctx.failed[step] = cause_of(process)
            self.report(f'{step} failed, continuing without: {cause_of(process)}')

"""Explore with molecular dynamics: several walkers that halt where the potential does not know."""

from __future__ import annotations

import typing as t

from aiida import orm
from aiida.engine import ExitCode, append_
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_pace.calculations.functions.walkers import summarise_walkers
from aiida_pace.calculations.lammps import PaceLammpsCalculation
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.workflows.graph import cause_of, jobs_of
from aiida_pace.workflows.lane import balanced_shares
from aiida_pace.workflows.lane.explore import ExploreLaneWorkChain
from aiida_pace.workflows.resumable import ResumableWorkChain, labelled
from aiida_pace.workflows.validators import validate_positive

__all__ = ('ExploreWorkChain',)


class ExploreWorkChain(ResumableWorkChain):
    """Run one walker per structure; a walker that fails is counted and named, the others go on."""

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        """Define the process specification."""
        super().define(spec)
        spec.input_namespace(
            'structures',
            valid_type=orm.StructureData,
            dynamic=True,
            validator=cls.validate_structures,
            help='Start structure of each walker, by name.',
        )
        spec.input(
            'seed',
            valid_type=orm.Int,
            help='Random seed of the first walker; each further walker takes the next integer.',
        )
        spec.input(
            'max_concurrent',
            valid_type=orm.Int,
            default=lambda: orm.Int(2),
            validator=validate_positive,
            help='Number of walkers that run at the same time. `core.direct` has no queue: give at most the number '
            'of cores there.',
        )
        spec.expose_inputs(PaceLammpsCalculation, namespace='lammps', exclude=('structure', 'seed'))
        steps: t.Any = cls  # for `outline`, steps are functions of any work chain
        spec.outline(steps.run_lanes, steps.inspect_walkers, steps.results)
        spec.output_namespace(
            'extrapolative',
            valid_type=AtomsDatasetData,
            dynamic=True,
            required=False,
            help='By walker: frames with an extrapolation grade above the collection threshold; the halting frame is '
            'last.',
        )
        spec.output_namespace(
            'samples',
            valid_type=AtomsDatasetData,
            dynamic=True,
            required=False,
            help='By walker: evenly spaced frames below the halting threshold.',
        )
        spec.output(
            'output_parameters',
            valid_type=orm.Dict,
            required=False,
            help='Which walkers finished, halted or failed; the highest grade.',
        )
        spec.exit_code(
            410,
            'ERROR_WALKERS_FAILED',
            message='none of the walkers ({count}) gave a usable trajectory ({causes}). Run `verdi process report` on '
            'one of the walkers.',
        )

    def run_lanes(self) -> None:
        """Share the walkers between the lanes and start the lanes."""
        names = sorted(self.inputs.structures)
        seeds = {name: orm.Int(self.inputs.seed.value + number) for number, name in enumerate(names)}
        costs = {name: float(len(structure.sites)) for name, structure in self.inputs.structures.items()}
        lammps = self.exposed_inputs(PaceLammpsCalculation, 'lammps')
        for number, share in enumerate(balanced_shares(costs, self.inputs.max_concurrent.value), start=1):
            inputs = {
                'lammps': lammps,
                'structures': {name: self.inputs.structures[name] for name in share},
                'seeds': {name: seeds[name] for name in share},
            }
            self.to_context(lanes=append_(self.submit(ExploreLaneWorkChain, labelled(f'lane_{number}', inputs))))

    def inspect_walkers(self) -> ExitCode | None:
        """Sort out the walkers that failed; stop when not one is usable."""
        self.ctx.walkers, self.ctx.failures = {}, {}
        jobs = jobs_of(self.ctx.lanes)
        for name in sorted(self.inputs.structures):
            job = jobs.get(name)
            if job is not None and 'output_parameters' in job.outputs:
                self.ctx.walkers[name] = job
            if job is None or not job.is_finished_ok:
                self.ctx.failures[name] = cause_of(job)
                self.report(f'walker {name} failed: {self.ctx.failures[name]}')
        if not self.ctx.walkers:
            causes = '; '.join(f'{name}: {cause}' for name, cause in self.ctx.failures.items())
            return self.exit_codes.ERROR_WALKERS_FAILED.format(count=len(self.ctx.failures), causes=causes)  # type: ignore[no-any-return]
        return None

    def results(self) -> None:
        """Attach the frames of every walker and the summary."""
        for name, walker in self.ctx.walkers.items():
            for output in ('extrapolative', 'samples'):
                if output in walker.outputs:
                    self.out(f'{output}.{name}', walker.outputs[output])
        parameters = {name: walker.outputs.output_parameters for name, walker in self.ctx.walkers.items()}
        summary = summarise_walkers(orm.Dict(self.ctx.failures), **parameters)
        self.out('output_parameters', summary)
        self.report(f'{len(summary["halted"])} of {len(self.inputs.structures)} walkers halted')

    @classmethod
    def validate_structures(cls, structures: t.Mapping[str, orm.StructureData], _: t.Any) -> str | None:
        """Refuse a structure that no walker can start from."""
        for name, structure in structures.items():
            if error := PaceLammpsCalculation.validate_structure(structure, None):
                return f'`structures.{name}`: {error}'
        return None

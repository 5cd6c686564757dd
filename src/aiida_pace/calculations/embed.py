"""`PaceEmbedCalculation`: large frames cut down to what DFT can pay for."""

from __future__ import annotations

from aiida.engine import CalcJobProcessSpec

from aiida_pace.calculations.engine import PaceFramesCalcJob
from aiida_pace.config import EmbeddingConfig
from aiida_pace.engines.embed import PROGRAM

__all__ = ('PaceEmbedCalculation',)


class PaceEmbedCalculation(PaceFramesCalcJob):
    """Run ``pace-embed``: small periodic boxes around the atom of highest extrapolation grade of each large frame."""

    CACHE_VERSION = 2
    PARSER = 'pace.embed'
    PROGRAM = PROGRAM
    CONFIG = EmbeddingConfig

    FILENAMES_RESULT = ('embedded.npz', 'embedded.json')

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]
        """Declare ports and exit codes."""
        super().define(spec)
        spec.inputs['dataset'].help = 'Frames of any size; those of at most `max_dft_atoms` atoms pass unchanged.'
        spec.inputs['closest'].help = (
            'No distance in a box is below this times the sum of the two covalent radii, unless the large frame has '
            'such a distance.'
        )
        spec.inputs['active_set'].required = True
        spec.inputs[
            'active_set'
        ].help = 'Active set of the potential: its grades choose the centres and prove the boxes.'
        spec.outputs['dataset'].help = (
            'The frames in their order, large ones replaced: origin `embedded/` and that of the large frame '
            '(`embedded/halt`), `force_weight` 1 in the core and 0 elsewhere, `weight` 0. Where any is replaced there '
            'are no labels, and grades only if the input has some.'
        )
        spec.outputs['output_parameters'].help = (
            '`count` of frames; `parents`, of each the index of its frame in the input; numbers of those `embedded`, '
            '`unchanged`, and `failed` by cause (`too_many_atoms`, `short_distance`, `grade_changed`, `not_finite`, '
            '`duplicate`); `frames`, a list for each large frame of `parent`, `atoms_before`, `atoms_after`, '
            '`core_atoms`, `fixed_atoms` (within the cutoff of the core), `centre`, `grade_before` and `grade_after` '
            '(highest of the core), `relaxed`, `tries`, or `failed`; `wall_time_seconds`.'
        )
        spec.exit_code(
            510,
            'ERROR_EMBEDDING_EMPTY',
            message='none of {count} frames could be embedded ({causes}): raise `max_dft_atoms`, or use a potential '
            'with a shorter cutoff.',
        )

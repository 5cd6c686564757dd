"""`aiida-pace save-potential`: the potential of a campaign as files."""

from __future__ import annotations

import typing as t
from pathlib import Path

import click

from aiida_pace.cli.root import cmd_root, profile_option, verbose_option, with_profile

if t.TYPE_CHECKING:
    from aiida import orm

    from aiida_pace.data.active_set import AceActiveSetData
    from aiida_pace.data.posterior import AcePosteriorData
    from aiida_pace.data.potential import AcePotentialData
    from aiida_pace.report.campaign import CampaignSummary

__all__ = ('cmd_save_potential',)


@cmd_root.command('save-potential')
@click.argument('folder', type=click.Path(file_okay=False, path_type=Path))
@click.option('--campaign', metavar='PK', help='PK or UUID of the campaign.  [default: the newest one]')
@verbose_option
@profile_option
@with_profile
def cmd_save_potential(folder: Path, campaign: str | None, verbose: bool) -> None:
    """Write the potential of a campaign to FOLDER, with its active set, its posterior and the lines that LAMMPS needs.

    Of a campaign that still runs or broke off, the last potential it trained. Files that an earlier call wrote are
    replaced.
    """
    from aiida_pace.cli.campaigns import find_campaign

    node = find_campaign(campaign)
    potential, active_set = _last_potential(node)
    files = {potential.FILENAME: potential.get_yaml()}
    if potential.has_yace:
        files[potential.FILENAME_YACE] = potential.get_yace()
    if active_set is not None:
        files[active_set.FILENAME] = active_set.get_asi()
    if (posterior := _posterior(potential)) is not None:
        files[posterior.FILENAME] = posterior.get_content()
    files['README.md'] = _readme(node, potential, active_set).encode()
    _write(folder, files)

    state = 'converged' if node.is_finished_ok else 'has not converged'
    click.echo(f'Campaign {node.pk} {state}; its potential for {", ".join(potential.elements)} is in {folder}/:')
    for name, content in files.items():
        click.echo(f'  {folder / name}' + (f'  {len(content)} bytes' if verbose else ''))
    click.echo('In LAMMPS:')
    for line in _lammps_lines(potential, active_set):
        click.echo(f'  {line}')


def _last_potential(node: orm.WorkChainNode) -> tuple[AcePotentialData, AceActiveSetData | None]:
    """Return the potential that a campaign handed over, or the last that it or those it goes on from have trained.

    :raises click.ClickException: when there is none.
    """
    from aiida import orm

    from aiida_pace.workflows.records import campaign_state

    assert node.pk is not None
    if 'potential' in node.outputs:
        return node.outputs.potential, node.outputs.active_set if 'active_set' in node.outputs else None
    state = campaign_state(node.pk)
    if state.potential is not None:
        found = state.potentials[state.potential]
        active_set = None if found.active_set is None else orm.load_node(found.active_set)
        return t.cast('AcePotentialData', orm.load_node(found.uuid)), t.cast('AceActiveSetData | None', active_set)
    remedy = 'see why' if node.is_terminated else 'wait for the first training'
    raise click.ClickException(f'campaign {node.pk} has no potential: {remedy} with `aiida-pace status {node.pk}`.')


def _posterior(potential: AcePotentialData) -> AcePosteriorData | None:
    """Return the posterior that the fit of the potential left, None when that was not linear."""
    from aiida.common.exceptions import NotExistent

    try:
        return t.cast('AcePosteriorData', potential.creator.outputs.posterior) if potential.creator else None
    except NotExistent:
        return None


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Write ``files``; never beside one of another potential, which LAMMPS would take for a part of this one.

    :raises click.ClickException: when such a file is there or the folder cannot be written.
    """
    from aiida_pace.data.active_set import AceActiveSetData
    from aiida_pace.data.posterior import AcePosteriorData
    from aiida_pace.data.potential import AcePotentialData

    ours = (
        AcePotentialData.FILENAME,
        AcePotentialData.FILENAME_YACE,
        AceActiveSetData.FILENAME,
        AcePosteriorData.FILENAME,
    )
    for name in ours:
        if name not in files and (folder / name).exists():
            raise click.ClickException(f'{folder / name} belongs to another potential: give another folder.')
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
    except OSError as exception:
        raise click.ClickException(
            f'{folder} cannot be written ({exception.strerror}): give another folder.'
        ) from exception


def _lammps_lines(potential: AcePotentialData, active_set: AceActiveSetData | None) -> list[str]:
    """Return the lines that choose the potential in LAMMPS built with ML-PACE."""
    elements = ' '.join(potential.elements)
    if potential.has_yace:
        return ['pair_style pace', f'pair_coeff * * {potential.FILENAME_YACE} {elements}']
    if active_set is not None:
        return _graded_lines(potential, active_set)
    return [f'make {potential.FILENAME_YACE} first: pace_yaml2yace {potential.FILENAME}']


def _graded_lines(potential: AcePotentialData, active_set: AceActiveSetData) -> list[str]:
    """Return the lines for LAMMPS that give the extrapolation grade too."""
    files = f'{potential.FILENAME} {active_set.FILENAME}'
    return ['pair_style pace/extrapolation', f'pair_coeff * * {files} {" ".join(potential.elements)}']


def _quality(node: orm.WorkChainNode, potential: AcePotentialData, campaign: CampaignSummary) -> list[str]:
    """Return what is known of the errors of this very potential: on what it was trained on, on other frames, of DFT."""
    from aiida import orm
    from aiida.common.links import LinkType

    from aiida_pace.cli.tables import audit_words

    lines = []
    for link in potential.base.links.get_incoming(orm.WorkChainNode, link_type=LinkType.RETURN).all():
        training = t.cast(orm.WorkChainNode, link.node)
        call = training.base.links.get_incoming(link_type=LinkType.CALL_WORK).first()
        if call is None or not call.link_label.endswith('_train'):
            continue
        fit, step = training.outputs.output_parameters, call.link_label.removesuffix('_train')
        frames = sum(dataset.count for dataset in training.inputs.fit.datasets.values())
        rmse = f'forces {1000 * fit["rmse_f_comp"]:.0f} meV/Å, energies {1000 * fit["rmse_epa"]:.1f} meV/atom'
        lines.append(f'- Trained in `{step}`, on {frames} labelled frames; RMSE on these frames: {rmse}')
    audits = [record.audit for record in campaign.campaign.history if record.potential == potential.uuid]
    audit = next((audit for audit in reversed(audits) if audit is not None), None)
    if audit is not None:
        lines.append(f'- RMSE of the forces on audit frames, which are never trained on: {audit_words(audit)}')
    if 'gates' in node.outputs:
        failed = node.outputs.gates['failed']
        lines.append(f'- Properties against DFT: {"; ".join(failed) or "all are within the tolerances"}')
    return lines


def _readme(node: orm.WorkChainNode, potential: AcePotentialData, active_set: AceActiveSetData | None) -> str:
    """Return what the next reader of the folder should know."""
    from aiida_pace.cli.display import outcome
    from aiida_pace.report.campaign import summarise_campaign

    functions = ', '.join(f'{element} {count}' for element, count in potential.functions_per_element.items())
    references = ', '.join(f'{element} {energy:.6f} eV' for element, energy in potential.reference_energies.items())
    campaign = summarise_campaign(node)
    lines = [
        f'# ACE potential for {", ".join(potential.elements)}',
        '',
        f'- Campaign {node.pk} of aiida-pace, UUID {node.uuid}: {outcome(campaign)}',
        f'- Potential: UUID {potential.uuid}',
        f'- Cutoff: {potential.cutoff:g} Å; basis functions: {functions}',
        f'- Energies are relative to isolated atoms: {references}' if references else '- Energies are total energies',
    ]
    lines += [
        *_quality(node, potential, campaign),
        '',
        'LAMMPS, built with ML-PACE; after the file names, one element per atom type, in the order of the types:',
        '',
        '```',
        'units metal',
        *_lammps_lines(potential, active_set),
        '```',
    ]
    if active_set is not None and potential.has_yace:
        lines += ['', 'With the extrapolation grade of every atom, slower:', '', '```', 'units metal']
        lines += [*_graded_lines(potential, active_set), 'fix grade all pair 10 pace/extrapolation gamma 1', '```']
    if (posterior := _posterior(potential)) is not None:
        lines += [
            '',
            'Leverages and standard deviations of forces and energies, not calibrated, of frames in an archive:',
            '',
            '```',
            f'pace-evaluate frames.npz {potential.FILENAME} --posterior {posterior.FILENAME}',
            '```',
        ]
    return '\n'.join([*lines, ''])

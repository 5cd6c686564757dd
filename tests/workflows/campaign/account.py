"""Print as JSON what a campaign has done: `verdi run account.py PK`."""

import json
import sys
from collections import Counter

from aiida import orm
from aiida.plugins import WorkflowFactory

campaign = orm.load_node(int(sys.argv[1]))
steps = orm.QueryBuilder()
steps.append(WorkflowFactory('pace.label'), tag='step')
runs = [
    (step.uuid, link.link_label, link.node)
    for (step,) in steps.all()
    for lane in step.called
    for link in lane.base.links.get_outgoing(node_class=orm.WorkChainNode).all()
]
jobs = [
    f'{run.pk}/{link.link_label}'
    for _, _, run in runs
    for link in run.base.links.get_outgoing(node_class=orm.CalcJobNode).all()
    if link.link_label.startswith('iteration') and link.node.is_terminated
]
outputs = campaign.outputs if campaign.is_terminated else {}
datasets = [dataset for name in ('datasets', 'audits') if name in outputs for dataset in outputs[name].values()]
print(
    json.dumps(
        {
            'terminated': campaign.is_terminated,
            'exit_status': campaign.exit_status,
            'exit_message': campaign.exit_message,
            'requested': sum(step.inputs.dataset.count for (step,) in steps.all()),
            'labelled': sum(run.is_finished_ok for _, _, run in runs),
            'runs_per_frame': Counter(f'{step}/{key}' for step, key, _ in runs),
            'jobs_per_iteration': Counter(jobs),
            'label_uuids': [str(uuid) for dataset in datasets for uuid in dataset.frames.label_uuid],
        }
    )
)

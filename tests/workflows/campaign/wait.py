"""Wait until a campaign has labelled N frames and pw.x is at work, or it has ended: `verdi run wait.py PK [N]`."""

import sys
import time

from aiida import orm

campaign = orm.load_node(int(sys.argv[1]))
wanted = int(sys.argv[2]) if len(sys.argv) > 2 else None


def labelled() -> int:
    filters = {'attributes.process_label': 'PwBaseWorkChain', 'attributes.process_state': 'finished'}
    return orm.QueryBuilder().append(orm.WorkChainNode, filters=filters).count()


def is_at_work() -> bool:
    filters = {'attributes.process_label': 'PwCalculation', 'attributes.process_status': {'like': 'Monitoring%'}}
    return orm.QueryBuilder().append(orm.CalcJobNode, filters=filters).count() > 0


deadline = time.monotonic() + 600
while not campaign.is_terminated and (wanted is None or labelled() < wanted or not is_at_work()):
    assert time.monotonic() < deadline, f'{campaign} did not get there: {labelled()} labels'
    time.sleep(0.2)
print(labelled())

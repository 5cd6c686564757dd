"""Wait until a campaign has ended, or is in a phase: `verdi run wait.py PK [CYCLE PHASE [LABELS]]`.

With LABELS, until also that many frames were labelled in the profile and pw.x is at work.
"""

import sys
import time

from aiida import orm

campaign = orm.load_node(int(sys.argv[1]))
place = (int(sys.argv[2]), sys.argv[3]) if len(sys.argv) > 2 else None
wanted = int(sys.argv[4]) if len(sys.argv) > 4 else 0


def labelled() -> int:
    filters = {'attributes.process_label': 'PwBaseWorkChain', 'attributes.process_state': 'finished'}
    return orm.QueryBuilder().append(orm.WorkChainNode, filters=filters).count()


def is_at_work() -> bool:
    filters = {'attributes.process_label': 'PwCalculation', 'attributes.process_status': {'like': 'Monitoring%'}}
    return orm.QueryBuilder().append(orm.CalcJobNode, filters=filters).count() > 0


def is_there() -> bool:
    state = campaign.base.extras.get('campaign', {})
    if place != (state.get('cycle'), state.get('phase')):
        return False
    return not wanted or (labelled() >= wanted and is_at_work())


deadline = time.monotonic() + 600
while not campaign.is_terminated and not is_there():
    assert time.monotonic() < deadline, f'{campaign} did not get there: {labelled()} labels'
    time.sleep(0.1)
print(labelled())

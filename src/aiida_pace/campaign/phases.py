"""Where a campaign stands, as its work chain writes it on its node; light to import."""

from __future__ import annotations

__all__ = ('CAMPAIGN_EXTRA', 'cycle_label')

#: Extra of the node of `ActiveLearningWorkChain` that says where the campaign stands.
CAMPAIGN_EXTRA = 'campaign'


def cycle_label(cycle: int) -> str:
    """Return the first part of the link labels of a cycle; that before the first one is ``initial``."""
    return f'cycle_{cycle:02d}' if cycle else 'initial'

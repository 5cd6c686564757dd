"""Where a campaign stands, as its work chain writes it on its node; light to import."""

from __future__ import annotations

__all__ = ('CAMPAIGN_EXTRA',)

#: Extra of the node of `ActiveLearningWorkChain` that says where the campaign stands.
CAMPAIGN_EXTRA = 'campaign'

"""The state of a campaign, its phases and its judge; no AiiDA."""

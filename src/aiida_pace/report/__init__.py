"""What a campaign did: from its node to numbers."""

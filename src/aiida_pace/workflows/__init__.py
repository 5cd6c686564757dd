"""Work chains: label, train, explore, select, and the loop."""

"""Large frames cut down to periodic boxes small enough for DFT."""

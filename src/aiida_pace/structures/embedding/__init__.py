"""Large frames cut down to periodic boxes that DFT can pay for."""

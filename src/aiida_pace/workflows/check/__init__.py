"""Pre-flight: know that a campaign can run before any DFT is spent on it."""

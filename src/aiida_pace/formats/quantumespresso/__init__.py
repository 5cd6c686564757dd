"""Settings of pw.x."""

"""Numbers from arrays: errors, audit, calibration, cost, properties, and the judge of a campaign; no AiiDA."""

"""What a fit is made of: training set, basis size, placeholder potential; no AiiDA."""

"""Work chains that train a potential and build its active set."""

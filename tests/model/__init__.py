"""The system against a plain model of it: random scenarios, deep comparisons, and canaries of what should be gone."""

"""The built-in answers: one machine works alone."""

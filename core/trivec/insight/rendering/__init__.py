"""Explanations, evaluations and tunings as HTML and in the terminal."""

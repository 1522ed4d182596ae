"""Encoders behind a URL: the client of `trivec serve`, and those of other people's servers."""

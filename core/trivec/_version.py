"""The version of the distribution, read by the build and by `trivec doctor`."""

__version__ = "0.1.0"

"""The server: one process encodes for many programs, which need no torch.

`application` makes an ASGI application of an encoder. `trivec serve` runs it.
"""

from trivec.serving.app import application
from trivec.serving.options import ServeOptions

__all__ = ["ServeOptions", "application"]

"""The server: one process encodes for many programs, which need no torch.

`application` makes an ASGI application of an encoder. `trivec serve` runs it. Importing this
package imports no web framework.
"""

from typing import TYPE_CHECKING, Any

from trivec.serving.options import ServeOptions

if TYPE_CHECKING:
    from trivec.serving.app import application

__all__ = ["ServeOptions", "application"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any attribute of a module
    """Import what needs the extra [serve] when it is asked for."""
    if name == "application":
        from trivec.serving.app import application

        return application
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

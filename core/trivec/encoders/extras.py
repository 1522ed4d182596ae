"""What encoding in this process needs besides the packages that trivec always comes with."""

from __future__ import annotations

from importlib.util import find_spec

from trivec.errors import MissingDependencyError

_TORCH = ("torch", "transformers", "tokenizers", "huggingface_hub")


def require_torch(what: str) -> None:
    """Raise `MissingDependencyError` unless the packages of the extra `[torch]` are installed.

    Args:
        what: What needs them, as the message begins.
    """
    missing = missing_packages()
    if missing:
        raise MissingDependencyError(
            f"{what} needs {', '.join(missing)}; run: pip install 'trivec[torch]', or let a server "
            "encode: open_encoder('trivec://host:7600'), --model on the command line"
        )


def missing_packages() -> list[str]:
    """Return the packages of the extra `[torch]` that are not installed."""
    return [name for name in _TORCH if not _is_installed(name)]


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):  # it is half installed, or a test blocks it
        return False

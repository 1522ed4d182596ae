"""What `import trivec_ray` offers, and needs."""

from __future__ import annotations

import subprocess
import sys

import pytest


def test_public_names() -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    import trivec_ray

    assert trivec_ray.__all__ == ["ingest"]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys, trivec; print('ray' in sys.modules)", "False"),
        (
            "import sys; sys.modules['ray'] = None\n"
            "try:\n    import trivec_ray\nexcept ImportError as e:\n    print(e)",
            "trivec_ray needs ray with Ray Data; run: pip install 'trivec[ray]'",
        ),
    ],
)
def test_ray_is_an_extra(code: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == said

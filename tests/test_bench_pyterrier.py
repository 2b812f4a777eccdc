"""The comparison with PyTerrier, which is not among the project's dependencies."""

import pytest

from bench import pyterrier


def test_without_pyterrier_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(pyterrier, "import_module", missing)
    with pytest.raises(SystemExit, match="needs PyTerrier; run: pip install python-terrier"):
        pyterrier.main()

"""A command says what it can do, and a mistake in a configuration shows, before anything slow is imported."""

import pytest

from tests.help_imports import PROGRAMS, count_imports

# Of the project's 320 modules; the counts are printed (pytest -rP), and by python -m tests.help_imports. `evaluate` has
# most, since it takes the options of restoring and of the simulated camera, which know nothing heavy themselves.
_OWN_LIMIT = 46
_TOTAL_LIMIT = 420


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_imports_nothing_heavy(name: str) -> None:
    """Catches an import at the top of a module that makes --help, or a mistyped option, wait for seconds."""
    imports = count_imports(PROGRAMS[name])
    print(f"{name}: {len(imports.own)} own modules of {imports.total}")
    assert imports.heavy == []
    assert len(imports.own) <= _OWN_LIMIT, imports.own
    assert imports.total <= _TOTAL_LIMIT

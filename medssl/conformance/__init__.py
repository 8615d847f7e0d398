"""The conformance kit: what a plugin promises beyond its signature, as small checks that say what they saw.

On the command line it is ``medssl check NAME``. In a plugin package's own tests, one test per property::

    from medssl.conformance.pytest import contract_tests
    from my_package import MyMethod

    test_contract = contract_tests("method", MyMethod)

Each check is a function named ``check_...`` that looks at one property and raises :class:`ContractError` with what
the contract is and what was seen.
"""

from medssl.conformance.kit import (
    check_plugin,
    checks_for,
    iterate_checks,
    run_checks,
)
from medssl.conformance.running import CheckResult, ContractError

__all__ = [
    "CheckResult",
    "ContractError",
    "check_plugin",
    "checks_for",
    "iterate_checks",
    "run_checks",
]

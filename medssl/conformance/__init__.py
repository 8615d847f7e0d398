"""The conformance kit: small checks of what a plugin must do beyond its signature.

On the command line, run ``medssl check NAME``. In the tests of a plugin package, one test per property::

    from medssl.conformance.pytest import contract_tests
    from my_package import MyMethod

    test_contract = contract_tests("method", MyMethod)

Each check is a function named ``check_...`` that tests one property. It raises :class:`ContractError`, whose message
states the requirement and what was observed.
"""

from medssl.conformance.kit import check_plugin, checks_for, iterate_checks, run_checks
from medssl.conformance.running import CheckResult, ContractError

__all__ = ["CheckResult", "ContractError", "check_plugin", "checks_for", "iterate_checks", "run_checks"]

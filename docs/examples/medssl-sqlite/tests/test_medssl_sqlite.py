from medssl.conformance.pytest import contract_tests
from medssl_sqlite import Sqlite

test_contract = contract_tests("tracker", Sqlite)

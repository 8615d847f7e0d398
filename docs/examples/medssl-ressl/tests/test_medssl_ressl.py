from medssl.conformance.pytest import contract_tests
from medssl_ressl import Ressl

test_contract = contract_tests("method", Ressl)

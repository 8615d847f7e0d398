from medssl.conformance.pytest import contract_tests
from medssl_prototypes import Prototypes

test_contract = contract_tests("evaluator", Prototypes)

from medssl.conformance.pytest import contract_tests
from medssl_align_uniform import AlignUniform

test_contract = contract_tests("method", AlignUniform)

from medssl.conformance.pytest import contract_tests
from medssl_conv4 import Conv4

test_contract = contract_tests("encoder", Conv4)

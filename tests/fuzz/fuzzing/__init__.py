"""Damaged and hostile files by the thousand: medssl must accept each of them, or refuse it with an error of its own.

``python -m fuzzing images --count 10000 --seed 1`` (in ``tests/fuzz``) runs a part, ``--number 17`` a single case.
"""

"""Checks of every value that a plugin hands to the core, where it does: type, shape, numbers, length, device.

There is one module for each kind of plugin. Each function returns what is wrong in a list of phrases, so that one
message names all of it. It is empty for a right value. The caller that receives the value raises
:class:`~medssl.errors.BreachError`.

n samples, M training samples, O outputs of a target, V views.
"""

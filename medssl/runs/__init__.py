"""One run, stage by stage; :mod:`medssl.runs.pipeline` has the order."""

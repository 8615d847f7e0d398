"""One run, stage by stage; :mod:`medssl.runs.pipeline` says in which order."""

"""Studies: grids of runs, run and summarised with confidence intervals and tests."""

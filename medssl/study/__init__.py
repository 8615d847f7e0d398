"""Studies: grids of runs, carried out and summed up with intervals and tests."""

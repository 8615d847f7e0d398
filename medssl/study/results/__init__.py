"""From finished runs to rows, intervals and tested differences."""

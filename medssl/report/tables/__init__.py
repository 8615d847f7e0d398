"""Tables for a terminal, a spreadsheet and a paper."""

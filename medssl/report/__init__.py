"""What is made of results: tables, figures, the page."""

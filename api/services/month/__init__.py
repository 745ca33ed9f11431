"""A month or a year of lists together: what no single list shows, with the evidence and its strength."""

"""The report of one month from what a run stored: its content, its charts, page and workbook, its seal."""

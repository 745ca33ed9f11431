"""Takes lists in: every form a hospital exports them in, as JSON of one list each, without holding a file in memory."""

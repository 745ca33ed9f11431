"""DIP: catalogues, the engine, its explanation, scores, and building a catalogue from history."""

"""Files that are made to break a reader, a module for each kind; all give bytes by name."""

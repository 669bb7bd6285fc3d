"""Build the report as a single HTML page that works offline."""

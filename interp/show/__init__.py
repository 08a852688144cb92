"""Pictures and pages: figures, films, plots, tables in HTML, and the explorer."""
